"""Arms to effects: a point, a variance, for means, ratios and covariate-adjusted means."""

from __future__ import annotations

import math

import msgspec

from opportune.experiments.statistics.sums import Sums, total


class Point(msgspec.Struct, frozen=True):
    """An arm's estimate of its metric: ``value`` with the variance of that estimate; ``n`` units."""

    n: int
    value: float
    variance: float


class Effect(msgspec.Struct, frozen=True):
    """Treatment against control. ``difference`` is absolute, ``relative`` is the lift (0.05 is 5 %), each
    with its standard error; ``relative`` is NaN when the control's value is 0. ``df`` is Welch's."""

    control: Point
    treatment: Point
    difference: float
    se: float
    relative: float
    relative_se: float
    df: float

    @property
    def n(self) -> int:
        return self.control.n + self.treatment.n

    @property
    def z(self) -> float:
        return self.difference / self.se if self.se > 0 else 0.0


def mean(sums: Sums) -> Point:
    """The mean of ``y``."""
    return Point(sums.n, sums.y, sums.variance / sums.n if sums.n else math.inf)


def ratio(sums: Sums) -> Point:
    """Sum of ``y`` over sum of ``x``, with the delta method's variance (Deng, Knoblich & Lu, 2018, eq. 4);
    NaN when the denominator is 0: a metric that divides by zero has no value."""
    if not sums.n or sums.x == 0:
        return Point(sums.n, math.nan, math.inf)
    r = sums.y / sums.x
    spread = sums.variance - 2 * r * sums.covariance + r * r * sums.variance_x
    return Point(sums.n, r, max(spread, 0.0) / (sums.n * sums.x * sums.x))


def cuped_theta(arms: list[Sums]) -> float:
    """The coefficient of the covariate ``x``, from the spread within arms: 0 when it does not vary."""
    xx = sum(arm.xx for arm in arms)
    return sum(arm.xy for arm in arms) / xx if xx > 0 else 0.0


def cuped(sums: Sums, theta: float, mean_x: float) -> Point:
    """The mean of ``y`` less what the covariate, measured before the exposure, foretold (Deng, Xu, Kohavi &
    Walker, 2013): variance shrinks by the squared correlation. ``mean_x`` is that of all arms together."""
    if not sums.n:
        return Point(0, 0.0, math.inf)
    spread = sums.variance - 2 * theta * sums.covariance + theta * theta * sums.variance_x
    return Point(sums.n, sums.y - theta * (sums.x - mean_x), max(spread, 0.0) / sums.n)


def cuped_arms(arms: list[Sums]) -> list[Point]:
    """All arms adjusted by one coefficient."""
    theta, x = cuped_theta(arms), total(arms).x
    return [cuped(arm, theta, x) for arm in arms]


def effect(control: Point, treatment: Point) -> Effect:
    """The difference and the lift; the lift's variance is the delta method's for a quotient of independent
    estimates."""
    difference = treatment.value - control.value
    variance = control.variance + treatment.variance
    relative = relative_se = math.nan
    if control.value != 0 and math.isfinite(control.value):
        c, t = control.value, treatment.value
        relative = difference / abs(c)
        relative_se = math.sqrt(treatment.variance / c**2 + control.variance * t**2 / c**4)
    return Effect(
        control, treatment, difference, math.sqrt(variance), relative, relative_se, _welch(control, treatment)
    )


def _welch(a: Point, b: Point) -> float:
    """Welch and Satterthwaite's degrees of freedom."""
    below = sum(p.variance**2 / (p.n - 1) for p in (a, b) if p.n > 1)
    variance = a.variance + b.variance
    if not below or not math.isfinite(variance) or min(a.n, b.n) < 2:
        return math.inf
    return variance**2 / below
