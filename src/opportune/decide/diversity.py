"""Keep a list from being all of one kind."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Floats

Codes = npt.NDArray[np.int32]
Order = npt.NDArray[np.intp]


def within_cap(codes: Codes, max_per: int, count: int, shown: Iterable[int] = ()) -> list[int]:
    """The first ``count`` positions, best first, such that no code occurs more than ``max_per`` times, those
    in ``shown`` counted; -1 is no code. O(positions looked at): stops when it has enough.

    >>> within_cap(np.array([7, 7, 3, 7, -1, 3]), max_per=1, count=3)
    [0, 2, 4]
    """
    used: dict[int, int] = {}
    for code in shown:
        used[code] = used.get(code, 0) + 1
    stays: list[int] = []
    for position, code in enumerate(codes.tolist()):
        if len(stays) >= count:
            break
        if code >= 0:
            n = used.get(code, 0)
            if n >= max_per:
                continue
            used[code] = n + 1
        stays.append(position)
    return stays


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
