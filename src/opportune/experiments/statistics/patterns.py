"""Effects that change: new things that wear off, weekdays that differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from opportune.experiments.statistics.effects import Effect
from opportune.experiments.statistics.intervals import NORMAL
from opportune.experiments.statistics.ratio_check import chi_square_tail

ALPHA = 0.01


class Pattern(msgspec.Struct, frozen=True):
    """``seen`` when p is below 1 %; ``early`` and ``late`` are pooled effects where there are two."""

    p: float
    seen: bool
    early: float = math.nan
    late: float = math.nan


def pooled(effects: Sequence[Effect]) -> tuple[float, float]:
    """The precision-weighted mean of independent effects and its standard error."""
    weights = [1 / e.se**2 for e in effects if e.se > 0 and math.isfinite(e.se)]
    values = [e.difference for e in effects if e.se > 0 and math.isfinite(e.se)]
    if not weights:
        return math.nan, math.inf
    whole = sum(weights)
    return sum(w * v for w, v in zip(weights, values, strict=True)) / whole, math.sqrt(1 / whole)


def novelty(by_day: Sequence[Effect], early_days: int = 7) -> Pattern:
    """Whether the effect of the first days since exposure differs from that of later ones."""
    early, late = by_day[:early_days], by_day[early_days:]
    (a, se_a), (b, se_b) = pooled(early), pooled(late)
    spread = math.hypot(se_a, se_b)
    if not math.isfinite(spread):
        return Pattern(1.0, False, a, b)
    p = 2 * NORMAL.cdf(-abs(a - b) / spread)
    return Pattern(p, p < ALPHA, a, b)


def day_of_week(by_weekday: Sequence[Effect]) -> Pattern:
    """Whether the effect differs between weekdays: Cochran's Q of the weekday effects."""
    usable = [e for e in by_weekday if e.se > 0 and math.isfinite(e.se)]
    if len(usable) < 2:
        return Pattern(1.0, False)
    mean, _ = pooled(usable)
    q = sum(((e.difference - mean) / e.se) ** 2 for e in usable)
    p = chi_square_tail(q, len(usable) - 1)
    return Pattern(p, p < ALPHA)
