"""The kernel that scores trees. ``tree_layout.py`` lays them out, ``tree_reference.py`` says what they
mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel

NAN_RIGHT, NAN_LEFT, ZERO_RIGHT, ZERO_LEFT, CATEGORY = range(5)
"""How a node tests a value: which way NaN goes, or that NaN and zero together go one way, or by a set."""

_DE_BRUIJN_32 = 0x077CB531
_DE_BRUIJN_64 = 0x03F79D71B4CB0A89
SLOT_32 = tuple((_DE_BRUIJN_32 << place & 0xFFFFFFFF) >> 27 for place in range(32))
SLOT_64 = tuple((_DE_BRUIJN_64 << place & 0xFFFFFFFFFFFFFFFF) >> 58 for place in range(64))
"""Where the value of leaf ``place`` stands: multiplying the lowest set bit by a de Bruijn sequence hashes it
without collision (Leiserson, Prokop and Randall, 1998), so that the position itself is never computed."""
_MULTIPLIER_32, _MULTIPLIER_64 = np.uint32(_DE_BRUIJN_32), np.uint64(_DE_BRUIJN_64)
_SHIFT_32, _SHIFT_64 = np.uint32(27), np.uint64(58)
_ZERO = np.float32(1e-35)
_NO_CODE = 2**31 - 128
"""Larger than any category, and exact as a float32."""
BLOCK = 128
"""Rows that are scored together. A loop of a constant length is vectorized without checks and remainders:
the same kernel with 100 rows for 100 candidates takes five times as long."""
ABREAST = 4
"""Nodes that are tested together, so that the live leaves are loaded and stored once for all of them."""


@kernel
def sum_leaves(
    run_kind: npt.NDArray[np.int8],
    run_tree: npt.NDArray[np.int32],
    run_end: npt.NDArray[np.int64],
    feature: npt.NDArray[np.int32],
    threshold: npt.NDArray[np.float32],
    mask: npt.NDArray[Any],
    leaf: npt.NDArray[np.float64],
    bits: npt.NDArray[np.int64],
    category: npt.NDArray[np.bool_],
    coded: npt.NDArray[np.int32],
    columns: npt.NDArray[np.float32],
    total: npt.NDArray[np.float64],
) -> None:
    """Add to ``total`` (blocks, BLOCK) each row's leaf of every tree, in the order of the trees. ``columns``
    (features, blocks, BLOCK). See :class:`~opportune.recommend.tree_layout.Layout`
    for the others."""
    full = ~np.zeros(1, mask.dtype)[0]
    live = np.empty(BLOCK, mask.dtype)
    codes = np.empty((len(coded), BLOCK), np.int32)
    for block in range(columns.shape[1]):
        for row in range(BLOCK):
            live[row] = full
        for at in range(len(coded)):
            _to_codes(columns[coded[at], block], codes[at])
        node = 0
        for run in range(len(run_kind)):
            how = run_kind[run]
            end = run_end[run]
            if how == NAN_RIGHT:
                while node < end:
                    a = columns[feature[node], block]
                    b = columns[feature[node + 1], block]
                    c = columns[feature[node + 2], block]
                    d = columns[feature[node + 3], block]
                    a_most, a_left = threshold[node], mask[node]
                    b_most, b_left = threshold[node + 1], mask[node + 1]
                    c_most, c_left = threshold[node + 2], mask[node + 2]
                    d_most, d_left = threshold[node + 3], mask[node + 3]
                    for row in range(BLOCK):
                        live[row] &= (
                            (full if a[row] <= a_most else a_left)
                            & (full if b[row] <= b_most else b_left)
                            & (full if c[row] <= c_most else c_left)
                            & (full if d[row] <= d_most else d_left)
                        )
                    node += ABREAST
            elif how == NAN_LEFT:
                while node < end:
                    a = columns[feature[node], block]
                    b = columns[feature[node + 1], block]
                    c = columns[feature[node + 2], block]
                    d = columns[feature[node + 3], block]
                    a_most, a_left = threshold[node], mask[node]
                    b_most, b_left = threshold[node + 1], mask[node + 1]
                    c_most, c_left = threshold[node + 2], mask[node + 2]
                    d_most, d_left = threshold[node + 3], mask[node + 3]
                    for row in range(BLOCK):
                        live[row] &= (
                            (a_left if a[row] > a_most else full)
                            & (b_left if b[row] > b_most else full)
                            & (c_left if c[row] > c_most else full)
                            & (d_left if d[row] > d_most else full)
                        )
                    node += ABREAST
            elif how == CATEGORY:
                while node < end:
                    begin, size, at = bits[node]
                    _test_category(codes[at], category[begin : begin + size], mask[node], full, live)
                    node += 1
            else:
                while node < end:
                    _test_zero(
                        columns[feature[node], block],
                        threshold[node],
                        mask[node],
                        full,
                        how == ZERO_LEFT,
                        live,
                    )
                    node += 1
            if run + 1 == len(run_kind) or run_tree[run + 1] != run_tree[run]:
                _add_exits(live, leaf[run_tree[run]], total[block])
                for row in range(BLOCK):
                    live[row] = full


@kernel
def _to_codes(value: npt.NDArray[np.float32], code: npt.NDArray[np.int32]) -> None:
    """Categories as numbers, once for all nodes; what is none (NaN, negative) becomes the largest number."""
    for row in range(BLOCK):
        v = value[row]
        if v > np.float32(-1.0) and v < np.float32(_NO_CODE):
            code[row] = np.int32(v)
        else:
            code[row] = _NO_CODE


@kernel
def _test_category(
    code: npt.NDArray[np.int32], members: npt.NDArray[np.bool_], left: Any, full: Any, live: npt.NDArray[Any]
) -> None:
    outside = len(members) - 1  # a place of its own, which is no member: no branch to mispredict
    for row in range(BLOCK):
        live[row] &= full if members[min(code[row], outside)] else left


@kernel
def _test_zero(
    value: npt.NDArray[np.float32], most: float, left: Any, full: Any, zero_left: bool, live: npt.NDArray[Any]
) -> None:
    """Zero and NaN are missing and go one way."""
    if zero_left:
        for row in range(BLOCK):
            v = value[row]
            live[row] &= left if (v > most) & ((v < -_ZERO) | (v > _ZERO)) else full
    else:
        for row in range(BLOCK):
            v = value[row]
            live[row] &= full if (v <= most) & ((v < -_ZERO) | (v > _ZERO)) else left


@kernel
def _add_exits(live: npt.NDArray[Any], leaf: npt.NDArray[np.float64], total: npt.NDArray[np.float64]) -> None:
    """The exit of a row is the lowest leaf that is still live."""
    if len(leaf) == 32:
        for row in range(BLOCK):
            word = np.uint32(live[row])
            lowest = np.uint32(word & (~word + np.uint32(1)))
            total[row] += leaf[np.uint32(lowest * _MULTIPLIER_32) >> _SHIFT_32]
    else:
        for row in range(BLOCK):
            wide = np.uint64(live[row])
            bit = wide & (~wide + np.uint64(1))
            total[row] += leaf[(bit * _MULTIPLIER_64) >> _SHIFT_64]
