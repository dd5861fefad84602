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

    Scores of zero and below are not candidates. Returns how many were written. A bounded heap with the worst
    on top, then a heap sort: O(n log count), no allocation.
    """
    room = len(chosen)
    size = 0
    for i in range(n):
        if not score[i] > 0.0:
            continue
        if size < room:
            child = size
            size += 1
            while child > 0:
                parent = (child - 1) >> 1
                p = chosen[parent]
                if not ranks_before(score[p], item[p], score[i], item[i]):
                    break
                chosen[child] = p
                child = parent
            chosen[child] = i
        elif room > 0:
            worst = chosen[0]
            if ranks_before(score[i], item[i], score[worst], item[worst]):
                _sink(score, item, chosen, size, i)
    for end in range(size - 1, 0, -1):
        last = chosen[end]
        chosen[end] = chosen[0]
        _sink(score, item, chosen, end, last)
    return size


@kernel
def _sink(score: Any, item: Any, heap: npt.NDArray[np.int32], size: int, entry: int) -> None:
    """Put ``entry`` in the place of the worst and restore the heap of the first ``size``."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        c = heap[child]
        if child + 1 < size:
            right = heap[child + 1]
            if ranks_before(score[c], item[c], score[right], item[right]):
                child += 1
                c = right
        if not ranks_before(score[entry], item[entry], score[c], item[c]):
            break
        heap[hole] = c
        hole = child
    heap[hole] = entry


def best_first(score: npt.NDArray[Any], item: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """The readable reference of :func:`select_top`."""
    order = np.lexsort((-item.astype(np.int64), -score))
    return order[score[order] > 0][:count]
