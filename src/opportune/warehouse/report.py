"""An experiment's report: effects with intervals over time, checks, and the decision that they support."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, Literal

import msgspec

from opportune.clock import DAY, Millis
from opportune.experiments.definitions import Experiment
from opportune.experiments.metrics import Metric, Metrics
from opportune.experiments.statistics.effects import Effect, Point, cuped_arms, effect, mean, ratio
from opportune.experiments.statistics.intervals import (
    Belief,
    Interval,
    always_valid,
    believe,
    fixed,
)
from opportune.experiments.statistics.multiplicity import benjamini_hochberg, holm
from opportune.experiments.statistics.patterns import Pattern, day_of_week, novelty
from opportune.experiments.statistics.ratio_check import RatioCheck, ratio_check, ratio_checks
from opportune.experiments.statistics.sums import Sums, total
from opportune.warehouse.analysis import Analysis, Units

Verdict = Literal["wait", "ship", "stop", "no_difference", "do_not_trust"]


class Comparison(msgspec.Struct, frozen=True):
    """One arm against the control on one metric. ``lift`` is relative; ``lift_interval`` is always valid,
    ``fixed_interval`` is for one planned look; ``p`` goes with the first, ``q`` is p adjusted for all
    comparisons of the report."""

    arm: str
    value: float
    n: int
    difference: float
    lift: float
    lift_interval: Interval
    fixed_interval: Interval
    p: float
    q: float
    belief: Belief
    variance_saved: float = 0.0


class MetricReport(msgspec.Struct, frozen=True):
    """``over_time`` has, per day, every arm's lift and interval among the units that had come in by then."""

    metric: Metric
    control: float
    comparisons: list[Comparison]
    over_time: list[dict[str, Any]]
    misplaced: dict[str, int]
    by_dimension: dict[str, list[dict[str, Any]]]


class GuardrailReport(msgspec.Struct, frozen=True):
    metric: str
    arm: str
    tolerance: float
    worst: float
    breached: bool
    message: str


class Report(msgspec.Struct, frozen=True):
    """Everything that the faces show of an experiment."""

    experiment: str
    name: str
    arms: dict[str, int]
    control: str
    days: int
    check: RatioCheck
    dimension_checks: dict[str, dict[str, RatioCheck]]
    metrics: list[MetricReport]
    guardrails: list[GuardrailReport]
    novelty: dict[str, Pattern]
    weekday: dict[str, Pattern]
    flipped: int
    verdict: Verdict
    because: str
    messages: list[str]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each metric and treated arm, of plain numbers: ``pandas.DataFrame(report.rows())``."""
        return [
            {
                "metric": m.metric.id,
                "arm": c.arm,
                "n": c.n,
                "control": m.control,
                "value": c.value,
                "difference": c.difference,
                "lift": c.lift,
                "low": c.lift_interval.low,
                "high": c.lift_interval.high,
                "p": c.p,
                "q": c.q,
                "chance_better": c.belief.chance,
            }
            for m in self.metrics
            for c in m.comparisons
        ]


def report(
    connection: Any,
    experiment: Experiment,
    metrics: Metrics,
    now: Millis,
    *,
    exclude_flips: bool = False,
    over_time: bool = True,
) -> Report:
    """The report of one experiment over the derived tables, as of ``now``."""
    analysis = Analysis(connection, experiment, until=now + 1, exclude_flips=exclude_flips)
    units = analysis.units()
    named = [*experiment.metrics, *(g.metric for g in experiment.guardrails)]
    wanted = [metrics.get(name) for name in dict.fromkeys(named)]
    analysis.fill(wanted)
    variants = experiment.variants()
    weights = [arm.weight or 0.0 for arm in variants]
    counts = [units.by_arm[arm.id] for arm in variants]
    check = ratio_check(counts, weights)
    found = [_metric(analysis, i, metric, experiment, over_time) for i, metric in enumerate(wanted)]
    _adjust(found)
    guardrails = [g for rail in experiment.guardrails for g in _guardrail(rail, found)]
    fresh, weekday = _patterns(analysis, found, variants[0].id)
    days = 0 if units.first is None else int((now - units.first) // DAY)
    verdict, because = _decide(experiment, units, check, found, guardrails, days)
    return Report(
        experiment.id,
        experiment.name or experiment.id,
        units.by_arm,
        variants[0].id,
        days,
        check,
        {
            name: ratio_checks({v: [by[a.id] for a in variants] for v, by in values.items()}, weights)
            for name, values in units.by_dimension.items()
        },
        found,
        guardrails,
        fresh,
        weekday,
        units.flipped,
        verdict,
        because,
        _messages(experiment, units, found, exclude_flips),
    )


def points(metric: Metric, arms: list[Sums], *, by_period: bool = False) -> tuple[list[Point], float]:
    """The arms' estimates, and the share of variance that the covariate took away (none in a switchback).
    One period alone says nothing of how periods differ."""
    if by_period:
        found = [ratio(arm) for arm in arms]
        return [p if p.n > 1 else msgspec.structs.replace(p, variance=math.inf) for p in found], 0.0
    if metric.kind == "ratio":
        return [ratio(arm) for arm in arms], 0.0
    plain = [mean(arm) for arm in arms]
    if metric.covariate is None:
        return plain, 0.0
    adjusted = cuped_arms(arms)
    before, after = sum(p.variance for p in plain), sum(p.variance for p in adjusted)
    return adjusted, 1 - after / before if 0 < before < math.inf else 0.0


def _compare(
    metric: Metric, arms: dict[str, Point], control: str, alpha: float, saved: float
) -> list[Comparison]:
    base = arms[control]
    found = []
    for arm, point in arms.items():
        if arm == control:
            continue
        e = effect(base, point)
        valid = always_valid(e, alpha, relative=True)
        found.append(
            Comparison(
                arm, point.value, point.n, e.difference, e.relative, valid, fixed(e, alpha, relative=True),
                valid.p, valid.p, believe(_upward(metric, e), alpha, relative=True, prior_sd=0.3), saved,
            )
        )  # fmt: skip
    return found


def _upward(metric: Metric, e: Effect) -> Effect:
    """The effect with better pointing up."""
    if metric.good == "up":
        return e
    return msgspec.structs.replace(e, difference=-e.difference, relative=-e.relative)


def _metric(
    analysis: Analysis, index: int, metric: Metric, experiment: Experiment, over_time: bool
) -> MetricReport:
    control, alpha = analysis.arms[0], experiment.alpha
    misplaced = analysis.misplaced(index)
    if metric.kind == "quantile":
        arms = analysis.quantiles(index)
        return MetricReport(
            metric, arms[control].value, _compare(metric, arms, control, alpha, 0.0), [], misplaced, {}
        )
    by_day = analysis.sums(index)
    days = sorted({day for day, _ in by_day})
    whole = [total(by_day[day, arm] for day in days if (day, arm) in by_day) for arm in analysis.arms]
    found, saved = points(metric, whole, by_period=analysis.by_period)
    arms = dict(zip(analysis.arms, found, strict=True))
    series: list[dict[str, Any]] = []
    if over_time and days:
        so_far = [
            list(accumulate((by_day.get((day, arm), Sums()) for day in days), Sums.combine))
            for arm in analysis.arms
        ]
        for k, day in enumerate(days):
            then, _ = points(metric, [sums[k] for sums in so_far], by_period=analysis.by_period)
            row = _compare(metric, dict(zip(analysis.arms, then, strict=True)), control, alpha, 0.0)
            series.append({"day": day, "arms": {c.arm: (c.lift, c.lift_interval) for c in row}})
    split = {name: _by_dimension(analysis, index, metric, name, alpha) for name in experiment.dimensions}
    return MetricReport(
        metric, arms[control].value, _compare(metric, arms, control, alpha, saved), series, misplaced, split
    )


def _by_dimension(
    analysis: Analysis, index: int, metric: Metric, name: str, alpha: float
) -> list[dict[str, Any]]:
    """The lift for every value of a dimension, with the false discovery rate kept over all of them."""
    sums = analysis.sums(index, name)
    rows: list[dict[str, Any]] = []
    for value in sorted({value for value, _ in sums}):
        arms = [sums.get((value, arm), Sums()) for arm in analysis.arms]
        found, saved = points(metric, arms, by_period=analysis.by_period)
        named = dict(zip(analysis.arms, found, strict=True))
        rows += [
            {"value": value, "arm": c.arm, "n": c.n, "lift": c.lift, "interval": c.lift_interval, "p": c.p}
            for c in _compare(metric, named, analysis.arms[0], alpha, saved)
        ]
    for row, q in zip(rows, benjamini_hochberg([row["p"] for row in rows]), strict=True):
        row["q"] = q
    return rows


def _adjust(found: list[MetricReport]) -> None:
    """Holm over all comparisons of the deciding metric; the others are for information, by Benjamini and
    Hochberg."""
    for i, metric in enumerate(found):
        correct = holm if i == 0 else benjamini_hochberg
        adjusted = correct([c.p for c in metric.comparisons])
        metric.comparisons[:] = [
            msgspec.structs.replace(c, q=q) for c, q in zip(metric.comparisons, adjusted, strict=True)
        ]


def _guardrail(rail: Any, found: list[MetricReport]) -> list[GuardrailReport]:
    metric = next(m for m in found if m.metric.id == rail.metric)
    down = metric.metric.good == "down"
    rows = []
    for c in metric.comparisons:
        low, high = c.lift_interval.low, c.lift_interval.high
        worst, best = (-high, -low) if down else (low, high)
        surely_worse = best < -rail.tolerance and c.n >= rail.units
        text = (
            f"{c.arm}: {metric.metric.title} is worse by more than {rail.tolerance:.1%}, whatever the noise"
            if surely_worse
            else f"{c.arm}: {metric.metric.title} is not shown to be worse by more than {rail.tolerance:.1%}"
        )
        rows.append(GuardrailReport(rail.metric, c.arm, rail.tolerance, worst, surely_worse, text))
    return rows


def _patterns(
    analysis: Analysis, found: list[MetricReport], control: str
) -> tuple[dict[str, Pattern], dict[str, Pattern]]:
    """Novelty and weekdays of the deciding metric, per arm."""
    fresh: dict[str, Pattern] = {}
    weekday: dict[str, Pattern] = {}
    if analysis.by_period or not found or found[0].metric.kind not in ("conversion", "count", "sum"):
        return fresh, weekday
    since = analysis.since_exposure(0)
    by_day = analysis.sums(0)
    for arm in analysis.arms[1:]:
        pairs = [(d[control], d[arm]) for d in since.values() if control in d and arm in d]
        fresh[arm] = novelty([effect(mean(a), mean(b)) for a, b in pairs])
        groups: list[Effect] = []
        for day in range(7):
            a, b = (
                total(s for (at, name), s in by_day.items() if name == one and at % 7 == day)
                for one in (control, arm)
            )
            if a.n > 1 and b.n > 1:
                groups.append(effect(mean(a), mean(b)))
        weekday[arm] = day_of_week(groups)
    return fresh, weekday


def _decide(
    experiment: Experiment,
    units: Units,
    check: RatioCheck,
    found: list[MetricReport],
    guardrails: list[GuardrailReport],
    days: int,
) -> tuple[Verdict, str]:
    """What to do, and why, in one sentence."""
    if experiment.bandit is not None:
        return "wait", (
            "a bandit moves this traffic toward what is rewarded: there are no fixed arms to compare, and "
            "the bandit's own page says what it believes"
        )
    if check.wrong:
        return "do_not_trust", (
            f"the arms have {', '.join(map(str, check.observed))} units where "
            f"{', '.join(f'{e:.0f}' for e in check.expected)} were asked for (p = {check.p:.2g}): find out "
            "why before reading anything else"
        )
    broken = next((g for g in guardrails if g.breached), None)
    if broken is not None:
        return "stop", broken.message
    least = min(units.by_arm.values(), default=0)
    minimum = experiment.minimum
    enough = (days >= minimum.days, least >= minimum.units)
    if not (all(enough) if minimum.both else any(enough)):
        joined = "and" if minimum.both else "or"
        return "wait", (
            f"{days} days and {least} units in the smallest arm: decide after {minimum.days} days {joined} "
            f"{minimum.units} units"
        )
    if not found or not found[0].comparisons:
        return "wait", "there is nothing to compare yet"
    first = found[0]
    sign = 1 if first.metric.good == "up" else -1
    better = [c for c in first.comparisons if c.q < experiment.alpha and sign * c.lift > 0]
    worse = [c for c in first.comparisons if c.q < experiment.alpha and sign * c.lift < 0]
    if better:
        best = max(better, key=lambda c: sign * c.lift)
        return "ship", (
            f"{best.arm} changes {first.metric.title} by {best.lift:+.2%} "
            f"({best.lift_interval.low:+.2%} to {best.lift_interval.high:+.2%})"
        )
    if worse and len(worse) == len(first.comparisons):
        return "stop", f"every arm is worse than {experiment.control} on {first.metric.title}"
    widest = max((c.lift_interval.high - c.lift_interval.low for c in first.comparisons), default=math.inf)
    return "no_difference", (
        f"no difference is shown on {first.metric.title}; the intervals are up to {widest:.1%} wide"
        if math.isfinite(widest)
        else f"{first.metric.title} has no value in one of the arms"
    )


def _messages(
    experiment: Experiment, units: Units, found: list[MetricReport], exclude_flips: bool
) -> list[str]:
    """What a reader has to know about the data."""
    told = []
    if experiment.unit == "time":
        told.append("units are periods: people of one period are counted together")
    grouped = experiment.unit in ("account", "household")
    if grouped:
        told.append(f"units are {experiment.unit}s: people of one are counted together")
    for arm, n in units.removed.items():
        told.append(f"the arm {arm} was removed while running: {n} who saw it are left out")
    for arm, n in units.by_arm.items():
        if not n:
            told.append(f"the arm {arm} has no data yet")
    if units.flipped:
        what = "are left out" if exclude_flips else "count where they first were"
        why = "somebody moved from one to another" if grouped else "people that turned out to be one"
        told.append(f"{units.flipped} saw more than one arm ({why}): they {what}")
    for metric in found:
        told += _without_value(metric, experiment, units)
        for why, n in metric.misplaced.items():
            if n:
                told.append(f"{n} outcomes of {metric.metric.title} {_MISPLACED[why]}: they do not count")
    return list(dict.fromkeys(told))


_MISPLACED = {
    "before_exposure": "came before the exposure",
    "after_window": "came after the window",
    "again": "came again with the same order_id",
    "no_exposure": "are of nobody in the experiment",
}


def _without_value(metric: MetricReport, experiment: Experiment, units: Units) -> list[str]:
    """Where an arm with units has no value, or the control's is 0 so that there is no lift."""
    title, control, told = metric.metric.title, experiment.control, list[str]()
    if experiment.unit == "time" and metric.metric.kind == "quantile":
        return [f"{title} has no value: a switchback compares periods, and quantiles are of people"]
    values = {control: metric.control, **{c.arm: c.value for c in metric.comparisons}}
    for arm, value in values.items():
        if math.isnan(value) and metric.metric.kind == "ratio":
            told.append(f"{title} divides by zero in {arm}: it has no value")
        elif math.isnan(value) and units.by_arm[arm]:
            told.append(f"{title} needs two units with the event and {arm} has fewer: it has no value")
    if metric.control == 0 and units.by_arm[control]:
        told.append(f"{title} is 0 in {control}: a difference has a value, a lift has none")
    return told
