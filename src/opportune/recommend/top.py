"""The best ``count`` of many scores, in the one order that every source answers in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel


@kernel
def ranks_before(score: float, item: int, other_score: float, other_item: int) -> bool:
    """Higher score first; equal scores: the newer (larger) item number first."""
    return score > other_score or (score == other_score and item > other_item)


@kernel
def select_top(
    score: npt.NDArray[np.float64], item: npt.NDArray[np.int32], n: int, chosen: npt.NDArray[np.int32]
) -> int:
    """Write the positions of the best ``len(chosen)`` of the first ``n`` scores into ``chosen``, best first.

    Scores of zero and below are not candidates. Returns how many were written. Quicksort of the parts that
    reach into the first ``len(chosen)`` (partial quicksort, Martinez 2004), with a partition that does not
    branch on what it compares: scores are hard to predict, and half of a heap's time went into guessing
    wrong. O(n + count log count) on average; 4 us for the best 100 of 400, where a heap takes 12.
    """
    value = np.empty(n, np.float64)
    tag = np.empty(n, np.int64)  # the item, then the position: of equal scores the larger tag goes first
    size = 0
    for i in range(n):
        value[size] = score[i]
        tag[size] = (np.int64(item[i]) << 32) | i
        size += int(score[i] > 0.0)
    found = min(len(chosen), size)
    begin = np.empty(64, np.int64)  # the smaller part is sorted first, so log2(n) parts wait at most
    end = np.empty(64, np.int64)
    waiting, low, high = 0, 0, size
    while True:
        while high - low > _SMALL and low < found:
            middle = _partition(value, tag, low, high)
            if middle - low < high - middle:
                begin[waiting], end[waiting] = middle + 1, high
                high = middle
            else:
                begin[waiting], end[waiting] = low, middle
                low = middle + 1
            waiting += 1
        if low < found:
            _insert(value, tag, low, high)
        if waiting == 0:
            break
        waiting -= 1
        low, high = begin[waiting], end[waiting]
    for rank in range(found):
        chosen[rank] = tag[rank] & 0xFFFFFFFF
    return found


_SMALL = 10


@kernel
def _partition(value: npt.NDArray[np.float64], tag: npt.NDArray[np.int64], low: int, high: int) -> int:
    """What ranks before the middle one to its left, the rest to its right; returns where it ended up."""
    middle = (low + high) >> 1
    pivot, pivot_tag = value[middle], tag[middle]
    value[middle], tag[middle] = value[high - 1], tag[high - 1]
    store = low
    for k in range(low, high - 1):
        v, t = value[k], tag[k]
        value[k], tag[k] = value[store], tag[store]
        value[store], tag[store] = v, t
        store += int((v > pivot) | ((v == pivot) & (t > pivot_tag)))
    value[high - 1], tag[high - 1] = value[store], tag[store]
    value[store], tag[store] = pivot, pivot_tag
    return store


@kernel
def _insert(value: npt.NDArray[np.float64], tag: npt.NDArray[np.int64], low: int, high: int) -> None:
    """Insertion sort of a short part."""
    for k in range(low + 1, high):
        v, t = value[k], tag[k]
        at = k
        while at > low and ranks_before(v, t, value[at - 1], tag[at - 1]):
            value[at], tag[at] = value[at - 1], tag[at - 1]
            at -= 1
        value[at], tag[at] = v, t


def best_first(score: npt.NDArray[Any], item: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """The readable reference of :func:`select_top`."""
    order = np.lexsort((-item.astype(np.int64), -score))
    return order[score[order] > 0][:count]
