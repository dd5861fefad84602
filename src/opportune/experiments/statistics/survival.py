"""Time to event: what share has not yet, and whether two arms differ, with people still waiting counted."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.experiments.statistics.effects import Point
from opportune.experiments.statistics.ratio_check import chi_square_tail
from opportune.experiments.statistics.sums import Array


class Curve(msgspec.Struct, frozen=True):
    """Kaplan and Meier's (1958): after ``time`` the share ``waiting``, with Greenwood's standard error."""

    time: Array
    waiting: Array
    se: Array


def _table(time: Array, happened: npt.NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Distinct event times, how many waited just before each, and how many had it then."""
    times = np.unique(time[happened])
    ordered = np.sort(time)
    at_risk = len(time) - np.searchsorted(ordered, times, side="left")
    events = np.sort(time[happened])
    had = np.searchsorted(events, times, side="right") - np.searchsorted(events, times, side="left")
    return times, at_risk.astype(np.float64), had.astype(np.float64)


def curve(time: npt.ArrayLike, happened: npt.ArrayLike) -> Curve:
    """``time`` until the event, or until now for those whom it has not ``happened`` to. O(n log n)."""
    t, h = np.asarray(time, dtype=np.float64), np.asarray(happened, dtype=bool)
    times, at_risk, had = _table(t, h)
    waiting = np.asarray(np.cumprod(1 - had / at_risk), dtype=np.float64)
    left = at_risk - had
    spread = np.cumsum(np.divide(had, at_risk * left, out=np.zeros_like(had), where=left > 0))
    return Curve(times, waiting, np.asarray(waiting * np.sqrt(spread), dtype=np.float64))


def log_rank(
    time_a: npt.ArrayLike, happened_a: npt.ArrayLike, time_b: npt.ArrayLike, happened_b: npt.ArrayLike
) -> tuple[float, float]:
    """Mantel's log-rank test of two arms: chi-square of one degree of freedom, and p."""
    a, ha = np.asarray(time_a, dtype=np.float64), np.asarray(happened_a, dtype=bool)
    b, hb = np.asarray(time_b, dtype=np.float64), np.asarray(happened_b, dtype=bool)
    times, at_risk, had = _table(np.concatenate((a, b)), np.concatenate((ha, hb)))
    if not len(times):
        return 0.0, 1.0
    in_a = len(a) - np.searchsorted(np.sort(a), times, side="left")
    events = np.sort(a[ha])
    had_a = np.searchsorted(events, times, side="right") - np.searchsorted(events, times, side="left")
    expected = had * in_a / at_risk
    variance = np.divide(
        had * (at_risk - had) * in_a * (at_risk - in_a),
        at_risk**2 * (at_risk - 1),
        out=np.zeros_like(had),
        where=at_risk > 1,
    )
    total = float(variance.sum())
    if total == 0:
        return 0.0, 1.0
    statistic = float((had_a - expected).sum()) ** 2 / total
    return statistic, chi_square_tail(statistic, 1)


def mean_waiting(time: npt.ArrayLike, happened: npt.ArrayLike, horizon: float) -> Point:
    """The mean time without the event up to ``horizon`` (restricted mean survival time): the area under the
    curve, with Greenwood's variance of it."""
    t = np.asarray(time, dtype=np.float64)
    found = curve(t, happened)
    inside = found.time < horizon
    times, waiting = found.time[inside], found.waiting[inside]
    edges = np.concatenate(([0.0], times, [horizon]))
    levels = np.concatenate(([1.0], waiting))
    areas = np.diff(edges) * levels
    _, at_risk, had = _table(t, np.asarray(happened, dtype=bool))
    at_risk, had = at_risk[inside], had[inside]
    after = np.cumsum(areas[::-1])[::-1][1:]
    left = at_risk - had
    terms = np.divide(had, at_risk * left, out=np.zeros_like(had), where=left > 0)
    return Point(len(t), float(areas.sum()), float((after**2 * terms).sum()) if len(t) else math.inf)
