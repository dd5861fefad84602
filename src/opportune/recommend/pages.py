"""Zeroed memory that costs nothing until it is touched: tables as large as they may ever get, not copied."""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

_SMALL_BYTES = 1 << 16


def lazy_zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """``np.zeros`` from anonymous pages of its own.

    ``np.zeros`` does the same for a fresh process, but once large arrays were freed the allocator hands out
    their memory again and has to write all of it.
    """
    kind = np.dtype(dtype)
    sizes = (shape,) if isinstance(shape, int) else shape
    n_bytes = math.prod(sizes) * kind.itemsize
    if n_bytes < _SMALL_BYTES:
        return np.zeros(sizes, kind)
    return np.frombuffer(mmap.mmap(-1, n_bytes), kind, math.prod(sizes)).reshape(sizes)
