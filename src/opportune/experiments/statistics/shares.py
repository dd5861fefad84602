"""Shares of groups against each other: Wilson's interval, their ratio, and whether they differ."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

_NORMAL = NormalDist()


class Share(NamedTuple):
    """``hits`` of ``n``."""

    hits: int
    n: int

    @property
    def rate(self) -> float:
        return self.hits / self.n if self.n else math.nan


def wilson(share: Share, alpha: float = 0.05) -> tuple[float, float]:
    """The interval of a share (Wilson, 1927); (0, 1) of nobody.

    >>> [round(end, 4) for end in wilson(Share(0, 10))]
    [0.0, 0.2775]
    """
    if not share.n:
        return 0.0, 1.0
    z2 = _NORMAL.inv_cdf(1 - alpha / 2) ** 2
    p, n = share.rate, share.n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def ratio_interval(share: Share, other: Share, alpha: float = 0.05) -> tuple[float, float]:
    """The interval of ``share.rate / other.rate``: normal on the log, with the delta method's variance (Katz,
    Baptista, Azen & Pike, 1978). Where a count is 0 a half is added to all four numbers (Walter, 1975)."""
    if not (share.n and other.n):
        return 0.0, math.inf
    more = 0.0 if share.hits and other.hits else 0.5
    a, n, b, m = (number + more for number in (*share, *other))
    reach = _NORMAL.inv_cdf(1 - alpha / 2) * math.sqrt(max(0.0, 1 / a - 1 / n + 1 / b - 1 / m))
    ratio = (a / n) / (b / m)
    return ratio * math.exp(-reach), ratio * math.exp(reach)


def p_same(share: Share, other: Share) -> float:
    """p of the two being samples of one share: the two-sided z test with the pooled variance, which is
    Pearson's chi-square of the fourfold table. Wants five expected in each of its cells."""
    n = share.n + other.n
    pooled = (share.hits + other.hits) / n if n else 0.0
    if not (share.n and other.n) or pooled in (0.0, 1.0):
        return 1.0
    se = math.sqrt(pooled * (1 - pooled) * (1 / share.n + 1 / other.n))
    return 2 * _NORMAL.cdf(-abs(share.rate - other.rate) / se)
