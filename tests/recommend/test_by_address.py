"""Arrays behind a table of addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opportune.kernels import kernel
from opportune.recommend.by_address import (
    Addresses,
    ByAddress,
    byte_rows_at,
    bytes_at,
    double_rows_at,
    doubles_at,
    float_rows_at,
    int_rows_at,
    ints_at,
    longs_at,
)

ARRAYS: list[np.ndarray[Any, Any]] = [
    np.arange(5, dtype=np.int8),
    np.arange(6, dtype=np.int8).reshape(2, 3),
    np.arange(7, dtype=np.int32),
    np.arange(8, dtype=np.int32).reshape(4, 2),
    np.arange(9, dtype=np.int64),
    np.arange(10, dtype=np.float32).reshape(5, 2),
    np.arange(11, dtype=np.float64),
    np.arange(12, dtype=np.float64).reshape(3, 4),
]


@kernel
def last_of_each(table: Addresses, out: Any) -> None:
    out[0] = bytes_at(table, 0)[-1]
    out[1] = byte_rows_at(table, 1)[-1, -1]
    out[2] = ints_at(table, 2)[-1]
    out[3] = int_rows_at(table, 3)[-1, -1]
    out[4] = longs_at(table, 4)[-1]
    out[5] = float_rows_at(table, 5)[-1, -1]
    out[6] = doubles_at(table, 6)[-1]
    out[7] = double_rows_at(table, 7)[-1, -1]
    ints_at(table, 2)[0] = 77


def test_a_kernel_finds_every_kind_of_array_where_it_is() -> None:
    arrays = [array.copy() for array in ARRAYS]
    out = np.zeros(8)
    last_of_each(ByAddress(arrays).table, out)
    assert out.tolist() == [5 - 1, 6 - 1, 7 - 1, 8 - 1, 9 - 1, 10 - 1, 11 - 1, 12 - 1]
    assert arrays[2][0] == 77


def test_the_table_keeps_its_arrays_alive() -> None:
    behind = ByAddress([np.full(1000, 3.0)] * 7 + [np.ones((2, 2))])
    assert behind.table.shape == (8, 3)
    assert behind.table[7].tolist()[1:] == [2, 2]


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.zeros(8)[::2], np.frombuffer(bytes(8), np.int8)])
def test_only_plain_arrays_have_an_address(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="only plain flat or two-dimensional arrays have an address"):
        ByAddress([array])
