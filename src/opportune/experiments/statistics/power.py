"""Before the start: how many units, how many days, and what could be seen with what there is."""

from __future__ import annotations

import math

import msgspec

from opportune.errors import InvalidRequest
from opportune.experiments.statistics.intervals import NORMAL, TUNED_FOR, reach

DAYS_OF_WEEK = 7


class Plan(msgspec.Struct, frozen=True):
    """``units`` in all, ``per_arm`` in the smallest; ``days`` at the traffic given, in whole weeks."""

    units: int
    per_arm: int
    days: int | None
    effect: float


def variance_of_rate(rate: float) -> float:
    return rate * (1 - rate)


def power_at(
    units: float,
    effect: float,
    variance: float,
    *,
    alpha: float = 0.05,
    share: float = 0.5,
    variance_treated: float | None = None,
    sequential: bool = False,
    tuned_for: float = TUNED_FOR,
) -> float:
    """The chance to see an absolute ``effect`` with ``units`` in all, a ``share`` treated (two-sided).
    ``sequential``: with the always-valid interval, at the end alone; looking earlier only adds."""
    treated = variance if variance_treated is None else variance_treated
    se = math.sqrt(variance / (units * (1 - share)) + treated / (units * share))
    limit = reach(units, alpha, tuned_for) if sequential else NORMAL.inv_cdf(1 - alpha / 2)
    shift = abs(effect) / se
    return NORMAL.cdf(shift - limit) + NORMAL.cdf(-shift - limit)


def sample_size(
    effect: float,
    variance: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    share: float = 0.5,
    variance_treated: float | None = None,
    sequential: bool = False,
    units_per_day: float | None = None,
) -> Plan:
    """How many units an absolute ``effect`` needs. The always-valid interval is tuned for its own answer.

    Raises :class:`InvalidRequest` for an effect of 0 and shares and powers that cannot be.
    """
    for name, value in (("alpha", alpha), ("power", power), ("share", share)):
        if not 0 < value < 1:
            raise InvalidRequest(f"{name} must be between 0 and 1", seen=value, remedy="for example 0.5")
    if effect == 0 or not math.isfinite(effect):
        raise InvalidRequest(
            "no number of units shows an effect of 0", seen=effect, remedy="name the smallest that matters"
        )
    if variance <= 0:
        raise InvalidRequest("the metric does not vary", seen=variance, remedy="give its variance")

    def enough(units: float) -> bool:
        return (
            power_at(
                units, effect, variance, alpha=alpha, share=share, variance_treated=variance_treated,
                sequential=sequential, tuned_for=units,
            )
            >= power
        )  # fmt: skip

    low, high = 2.0, 4.0
    while not enough(high):
        low, high = high, high * 2
        if high > 1e15:
            raise InvalidRequest("more units than there are people", seen=effect, remedy="a larger effect")
    while high - low > max(1e-9 * high, 0.25):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    smaller = min(share, 1 - share)
    days = None
    if units_per_day is not None:
        if not units_per_day > 0:
            raise InvalidRequest("no traffic", seen=units_per_day, remedy="give the units of a day")
        days = math.ceil(high / units_per_day / DAYS_OF_WEEK - 1e-9) * DAYS_OF_WEEK
    return Plan(math.ceil(high), math.ceil(high * smaller), days, effect)


def detectable(
    units: float, variance: float, *, alpha: float = 0.05, power: float = 0.8, share: float = 0.5
) -> float:
    """The smallest absolute effect that ``units`` in all show with the power, at one look."""
    se = math.sqrt(variance / (units * (1 - share)) + variance / (units * share))
    return (NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(power)) * se
