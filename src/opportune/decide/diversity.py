"""Keep a list from being all of one kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Floats

Codes = npt.NDArray[np.int32]
Order = npt.NDArray[np.intp]


def occurrence(codes: Codes) -> npt.NDArray[np.intp]:
    """For each position, how many before it have the same code. O(n log n).

    >>> occurrence(np.array([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    n = len(codes)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.zeros(n, dtype=np.intp)
    if n:
        new = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        starts[new] = new
        np.maximum.accumulate(starts, out=starts)
    before = np.empty(n, dtype=np.intp)
    before[order] = np.arange(n) - starts
    return before


def within_cap(codes: Codes, max_per: int) -> npt.NDArray[np.bool_]:
    """Which positions, best first, stay when a code may occur ``max_per`` times; -1 is no kind."""
    return (occurrence(codes) < max_per) | (codes < 0)


def marginal_relevance(score: Floats, codes: Codes, count: int, weight: float) -> Order:
    """Positions in the order of maximal marginal relevance, at most ``count``. O(count x n).

    Likeness is 1 to items of the same code and 0 to others; unknown codes are like nothing. Ties keep the
    order given. Source: Carbonell & Goldstein, SIGIR 1998.
    """
    n = min(count, len(score))
    chosen = np.empty(n, dtype=np.intp)
    value = np.float32(weight) * score
    alike = np.zeros(len(score), dtype=np.bool_)
    penalty = np.float32(1.0 - weight)
    for k in range(n):
        best = int(np.argmax(value - penalty * alike))
        chosen[k] = best
        value[best] = -np.inf
        if codes[best] >= 0:
            alike |= codes == codes[best]
    return chosen
