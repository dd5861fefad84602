"""The sample-ratio check: are there as many units in each arm as were asked for? If not, stop here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from opportune.experiments.statistics.multiplicity import holm

ALPHA = 0.0005
"""A p below this is an alarm: a check that is looked at daily must not cry wolf."""
CONCENTRATION = 2_500.0
"""Of the sequential check's prior: deviations of about a percentage point are what it expects."""
ENOUGH = 5.0
"""Units that the smallest arm must expect before the chi-square test says anything (Cochran, 1954)."""


class RatioCheck(msgspec.Struct, frozen=True):
    """``p`` is of the chi-square test of one look, ``p_any_time`` holds at every look; ``wrong`` raises the
    alarm."""

    observed: tuple[int, ...]
    expected: tuple[float, ...]
    p: float
    p_any_time: float
    wrong: bool

    @property
    def word(self) -> str:
        """``wrong``, ``right``, or ``no value yet`` while there are too few units to say."""
        if self.wrong:
            return "wrong"
        live = [e for e in self.expected if e > 0]
        return "right" if live and min(live) >= ENOUGH else "no value yet"


def ratio_check(counts: Sequence[int], weights: Sequence[float], alpha: float = ALPHA) -> RatioCheck:
    """Pearson's chi-square of the counts against the weights. Arms of weight 0 must be empty."""
    n, whole = sum(counts), sum(weights)
    expected = tuple(n * w / whole if whole else 0.0 for w in weights)
    if any(e == 0 and c for c, e in zip(counts, expected, strict=True)):
        return RatioCheck(tuple(counts), expected, 0.0, 0.0, True)
    live = [(c, e) for c, e in zip(counts, expected, strict=True) if e > 0]
    if n == 0 or len(live) < 2:
        return RatioCheck(tuple(counts), expected, 1.0, 1.0, False)
    statistic = sum((c - e) ** 2 / e for c, e in live)
    p = chi_square_tail(statistic, len(live) - 1)
    return RatioCheck(
        tuple(counts), expected, p, _any_time([c for c, _ in live], [e / n for _, e in live]), p < alpha
    )


def ratio_checks(
    by_value: Mapping[str, Sequence[int]], weights: Sequence[float], alpha: float = ALPHA
) -> dict[str, RatioCheck]:
    """The check for every value of a dimension, alarms by Holm's rule over all of them."""
    found = {value: ratio_check(counts, weights, alpha) for value, counts in by_value.items()}
    adjusted = holm([check.p for check in found.values()])
    return {
        value: msgspec.structs.replace(check, wrong=q < alpha)
        for (value, check), q in zip(found.items(), adjusted, strict=True)
    }


def chi_square_tail(statistic: float, df: int) -> float:
    """P(chi-square with ``df`` degrees of freedom > statistic), in closed form for whole ``df``.

    >>> round(chi_square_tail(3.841458820694124, 1), 6)
    0.05
    """
    if statistic <= 0 or df < 1:
        return 1.0
    half = statistic / 2
    if df % 2:
        tail = math.erfc(math.sqrt(half))
        term = math.sqrt(half / math.pi) * 2 * math.exp(-half)
        start = 3
    else:
        tail, term, start = 0.0, math.exp(-half), 2
    for k in range(start, df + 1, 2):
        tail += term
        term *= statistic / k
    return min(1.0, tail)


def _any_time(counts: Sequence[int], shares: Sequence[float]) -> float:
    """One over the Bayes factor of a Dirichlet prior around the shares against the shares themselves: valid
    whenever one looks (Lindon & Malek, 2022)."""
    n = sum(counts)
    log_factor = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + n)
    for count, share in zip(counts, shares, strict=True):
        prior = CONCENTRATION * share
        log_factor += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return math.exp(min(0.0, -log_factor))
