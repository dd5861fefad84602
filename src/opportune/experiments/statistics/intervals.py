"""Intervals: for one planned look, for as many looks as one likes, and as a belief."""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

from opportune.experiments.statistics.effects import Effect

NORMAL = NormalDist()
TUNED_FOR = 5_000
"""Units at which the always-valid interval is tightest, for an experiment that does not say."""


class Interval(msgspec.Struct, frozen=True):
    """``p`` is two-sided, against no difference; NaN where there is none."""

    low: float
    high: float
    p: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


NOWHERE = Interval(-math.inf, math.inf, 1.0)
"""Of an arm without data: nothing is known."""


def fixed(effect: Effect, alpha: float = 0.05, *, relative: bool = False) -> Interval:
    """Welch's interval and p for one look, planned beforehand. Looking again and again makes it lie: use
    :func:`always_valid` for that."""
    point, se = _of(effect, relative)
    if not (math.isfinite(se) and math.isfinite(point)):
        return NOWHERE
    if se == 0:
        return Interval(point, point, 1.0 if point == 0 else 0.0)
    if math.isfinite(effect.df) and not relative:
        from scipy.special import stdtr, stdtrit

        reach = float(stdtrit(effect.df, 1 - alpha / 2)) * se
        return Interval(point - reach, point + reach, 2 * float(stdtr(effect.df, -abs(point / se))))
    reach = NORMAL.inv_cdf(1 - alpha / 2) * se
    return Interval(point - reach, point + reach, 2 * NORMAL.cdf(-abs(point / se)))


def rho(alpha: float, n: float = TUNED_FOR) -> float:
    """The mixture's width that makes the interval tightest at ``n`` units (Waudby-Smith et al., 2024, eq. 36,
    Howard et al., 2021)."""
    a = -2 * math.log(alpha)
    return math.sqrt((a + math.log(a + 1)) / n)


def reach(n: float, alpha: float = 0.05, tuned_for: float = TUNED_FOR) -> float:
    """How many standard errors the always-valid interval reaches at ``n`` units; the fixed one has 1.96."""
    w = n * rho(alpha, tuned_for) ** 2
    return math.sqrt((1 + 1 / w) * math.log((w + 1) / alpha**2))


def always_valid(
    effect: Effect, alpha: float = 0.05, *, relative: bool = False, tuned_for: float = TUNED_FOR
) -> Interval:
    """An interval of a confidence sequence: all of them together, at every look, cover the truth with 1 -
    alpha. Asymptotic, by a normal mixture (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, 2024, theorem 2.2);
    ``p`` is that of the mixture SPRT (Johari, Koomen, Pekelis & Walsh, 2022): below alpha exactly when the
    interval excludes 0. Wants some tens of units per arm before the first look."""
    point, se = _of(effect, relative)
    if not (math.isfinite(se) and math.isfinite(point)) or effect.n < 2:
        return NOWHERE
    if se == 0:
        return Interval(point, point, 1.0 if point == 0 else 0.0)
    far = reach(effect.n, alpha, tuned_for) * se
    w = effect.n * rho(alpha, tuned_for) ** 2
    log_ratio = (point / se) ** 2 * w / (2 * (w + 1)) - math.log(w + 1) / 2
    return Interval(point - far, point + far, math.exp(min(0.0, -log_ratio)))


class Belief(msgspec.Struct, frozen=True):
    """A posterior of the difference: ``chance`` that the treatment is better, ``risk`` of choosing it and
    ``risk_of_staying`` (expected loss of either choice, in the metric's unit)."""

    mean: float
    sd: float
    interval: Interval
    chance: float
    risk: float
    risk_of_staying: float


def believe(
    effect: Effect,
    alpha: float = 0.05,
    *,
    relative: bool = False,
    prior_mean: float = 0.0,
    prior_sd: float = math.inf,
) -> Belief:
    """The posterior from a normal prior of the difference (flat unless told) and a normal likelihood."""
    point, se = _of(effect, relative)
    if not (math.isfinite(se) and math.isfinite(point)) or se <= 0:
        return Belief(prior_mean, prior_sd, NOWHERE, 0.5, math.nan, math.nan)
    precision = 1 / se**2 + (0.0 if math.isinf(prior_sd) else 1 / prior_sd**2)
    of_prior = 0.0 if math.isinf(prior_sd) else prior_mean / prior_sd**2
    m, sd = (point / se**2 + of_prior) / precision, math.sqrt(1 / precision)
    far = NORMAL.inv_cdf(1 - alpha / 2) * sd
    bend = sd * NORMAL.pdf(m / sd)
    return Belief(
        m,
        sd,
        Interval(m - far, m + far),
        NORMAL.cdf(m / sd),
        bend - m * NORMAL.cdf(-m / sd),
        bend + m * NORMAL.cdf(m / sd),
    )


def _of(effect: Effect, relative: bool) -> tuple[float, float]:
    return (effect.relative, effect.relative_se) if relative else (effect.difference, effect.se)
