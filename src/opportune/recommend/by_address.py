"""A model's arrays handed to a kernel by address.

numba looks at every array of every argument of every call: 0.2 us an array, 0.4 us within a tuple, which for
a model of thirty arrays is longer than many a question takes to answer. One small table of addresses costs
0.2 us, and the kernel makes arrays of them again for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from opportune.kernels import kernel

Addresses = npt.NDArray[np.int64]
"""(n, 3): for each array its address, rows and columns; 1 column for a flat one."""


class ByAddress:
    """Arrays and the table of their addresses. Holds on to the arrays, so that the addresses stay good;
    whoever replaces an array makes a new table."""

    def __init__(self, arrays: Iterable[npt.NDArray[Any]]) -> None:
        self._arrays = tuple(arrays)
        for array in self._arrays:
            if not (array.flags.c_contiguous and array.flags.writeable and 1 <= array.ndim <= 2):
                raise ValueError(
                    f"only plain flat or two-dimensional arrays have an address, not {array.shape}"
                )
        self.table: Addresses = np.array(
            [(a.ctypes.data, a.shape[0], a.shape[1] if a.ndim == 2 else 1) for a in self._arrays], np.int64
        ).reshape(-1, 3)


def _as_pointer(typing_context: Any, address: Any) -> Any:
    """How numba makes a pointer of an integer."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), code


_pointer = cast(Callable[[Any], Any], intrinsic(_as_pointer))
_array = carray


@kernel
def bytes_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), table[k, 1], np.int8)


@kernel
def byte_rows_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), (table[k, 1], table[k, 2]), np.int8)


@kernel
def ints_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), table[k, 1], np.int32)


@kernel
def int_rows_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), (table[k, 1], table[k, 2]), np.int32)


@kernel
def longs_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), table[k, 1], np.int64)


@kernel
def float_rows_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), (table[k, 1], table[k, 2]), np.float32)


@kernel
def doubles_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), table[k, 1], np.float64)


@kernel
def double_rows_at(table: Addresses, k: int) -> Any:
    return _array(_pointer(table[k, 0]), (table[k, 1], table[k, 2]), np.float64)
