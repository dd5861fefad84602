"""Numbers in [0, 1) to arms: ranges that only ever grow while an experiment is ramped up.

Every arm has its own stretch of [0, 1), as long as its weight; coverage fills each stretch from its start. So
raising coverage adds people to every arm and moves nobody (GrowthBook's ``getBucketRanges``).
"""

from __future__ import annotations

from collections.abc import Sequence

Range = tuple[float, float]


def ranges(weights: Sequence[float], coverage: float = 1.0) -> list[Range]:
    """The range of each arm, from included to excluded. Coverage outside 0 to 1 is taken as the nearer.

    >>> ranges([0.4, 0.6], 0.5)
    [(0.0, 0.2), (0.4, 0.7)]
    """
    coverage = min(max(coverage, 0.0), 1.0)
    found, start = [], 0.0
    for weight in weights:
        found.append((start, start + coverage * weight))
        start += weight
    return found


def choose(number: float, among: Sequence[Range]) -> int:
    """The index of the range that the number is in; -1 when it is in none."""
    for index, (start, end) in enumerate(among):
        if start <= number < end:
            return index
    return -1


def equal_weights(n: int) -> list[float]:
    return [1 / n] * n
