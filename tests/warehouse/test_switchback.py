"""The report of a switchback takes periods, not people, as units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.warehouse.test_report import event, metric, record

from opportune.clock import DAY, HOUR
from opportune.experiments.definitions import parse_experiments
from opportune.experiments.metrics import parse_metrics
from opportune.experiments.statistics.effects import effect, mean, ratio
from opportune.experiments.statistics.intervals import always_valid, fixed
from opportune.experiments.statistics.sums import Sums
from opportune.warehouse.report import report
from opportune.warehouse.tables import Tables, connect

START = 1_760_000_000_000 // DAY * DAY
T = parse_experiments(
    """
experiments:
  - id: t
    unit: time
    switchback: {period: 2h, by: region}
    arms: [{id: control}, {id: popular}]
    metrics: [conversion, revenue, order_value, middle]
    dimensions: [region]
    minimum: {days: 0, units: 0}
"""
).get("t")
METRICS = parse_metrics(
    """
metrics:
  - {id: revenue, kind: sum, event: order_completed, window: 1d}
  - {id: conversion, kind: conversion, event: order_completed, window: 1d}
  - {id: middle, kind: quantile, event: order_completed}
"""
)
# period, region, arm, {person: money after the exposure}
PERIODS = [
    (0, "north", "control", {"a": [10.0], "b": [], "c": [20.0, 5.0]}),
    (0, "south", "popular", {"d": [8.0], "e": [7.0]}),
    (1, "north", "popular", {"a": [30.0], "f": []}),
    (1, "south", "control", {"d": [], "g": [], "h": [4.0], "i": []}),
    (2, "north", "popular", {"a": [], "b": [12.0], "c": []}),
    (2, "south", "control", {"j": [9.0]}),
]


def hand_made():
    entries = []
    for k, region, arm, people in PERIODS:
        for i, (who, orders) in enumerate(people.items()):
            at = START + k * 2 * HOUR + i * 1_000
            unit = f"{k}|{region}"
            entries.append(record(f"user_id:{who}", arm, at, unit=unit, region=region))
            entries.append(record(f"user_id:{who}", arm, at + 500, unit=unit, region=region))
            entries += [
                event(f"user_id:{who}", "order_completed", at + 600 + n, v) for n, v in enumerate(orders)
            ]
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1))
    return tables.connection


@pytest.fixture(scope="module")
def found():
    return report(hand_made(), T, METRICS, START + DAY)


def by_hand(of, over=None, regions=("north", "south")):
    """The lift of a sum over people divided by another (by their number), periods being the units."""
    arms = []
    for arm in ("control", "popular"):
        mine = [list(p.values()) for _, region, its, p in PERIODS if its == arm and region in regions]
        y = [float(sum(of(orders) for orders in people)) for people in mine]
        x = [float(sum(over(orders) for orders in people) if over else len(people)) for people in mine]
        arms.append(ratio(Sums.of(y, x)))
    return effect(*arms)


def same(comparison, expected):
    assert comparison.lift == pytest.approx(expected.relative, rel=1e-9)
    valid, planned = always_valid(expected, relative=True), fixed(expected, relative=True)
    for mine, its in ((comparison.lift_interval, valid), (comparison.fixed_interval, planned)):
        assert (mine.low, mine.high, mine.p) == pytest.approx((its.low, its.high, its.p), rel=1e-9)


def test_by_hand(found):
    assert found.arms == {"control": 3, "popular": 3}
    assert metric(found, "conversion").control == pytest.approx((2 + 1 + 1) / (3 + 4 + 1))
    assert metric(found, "revenue").control == pytest.approx((35 + 4 + 9) / (3 + 4 + 1))
    same(metric(found, "conversion").comparisons[0], by_hand(bool))
    same(metric(found, "revenue").comparisons[0], by_hand(sum))
    same(metric(found, "order_value").comparisons[0], by_hand(sum, len))
    assert metric(found, "revenue").comparisons[0].n == 3


def test_an_outcome_belongs_to_the_newest_exposure_before_it(found):
    """a, seen in three periods within the window of a day, bought in the first and in the second."""
    money = metric(found, "revenue").comparisons[0].value * (2 + 2 + 3)
    assert money == pytest.approx(8 + 7 + 30 + 12)


def test_dimensions_and_what_is_told(found):
    checks = found.dimension_checks["region"]
    assert {region: checks[region].observed for region in checks} == {"north": (1, 2), "south": (2, 1)}
    rows = {row["value"]: row for row in metric(found, "revenue").by_dimension["region"]}
    assert rows["north"]["lift"] == pytest.approx(by_hand(sum, regions=("north",)).relative)
    assert rows["north"]["p"] == 1.0, "the one control period of the north does not say how periods differ"
    assert found.messages[0] == "units are periods: people of one period are counted together"
    assert "middle has no value: a switchback compares periods, and quantiles are of people" in found.messages
    assert math.isnan(metric(found, "middle").control)
    assert (found.novelty, found.weekday) == ({}, {})


def test_periods_of_their_own_kind_fool_people_as_units_and_not_periods():
    """40 runs in which nothing has an effect and a good hour is good for all of its people: the interval over
    people is wrong far more often than 5 %, the one over periods is not (P(more than 6 of 40) < 0.4 %)."""
    rng = np.random.default_rng(11)
    runs, periods, people = 40, 120, 30
    tables = Tables(connect(None))
    c = tables.connection
    by_people = by_periods = 0
    for _ in range(runs):
        arm = np.repeat(rng.integers(0, 2, periods), people)
        period = np.repeat(np.arange(periods), people)
        who = np.arange(periods * people)
        bought = rng.random(periods * people) < np.repeat(rng.beta(1, 3, periods), people)
        frame = {
            "who": who.astype(np.uint64),
            "period": period.astype(np.uint64),
            "arm": arm,
            "bought": bought,
        }
        for table in ("exposures", "events"):
            c.execute(f"delete from {table}").fetchall()
        c.register("run", frame)
        c.execute(f"""insert into exposures select 1, {START} + period::bigint * {2 * HOUR}, who, period, 0,
            't', if(arm = 0, 'control', 'popular'), 0.5, 'home', '{{}}' from run""").fetchall()
        c.execute(f"""insert into events select 1, {START} + period::bigint * {2 * HOUR} + 9, who, 0,
            'order_completed', 1, 0, 0 from run where bought""").fetchall()
        c.unregister("run")
        [told] = report(c, T, METRICS, START + 30 * DAY, over_time=False).metrics[0].comparisons
        naive = fixed(effect(*[mean(Sums.of(bought[arm == k])) for k in (0, 1)]), relative=True)
        by_people += not naive.low <= 0 <= naive.high
        by_periods += not told.fixed_interval.low <= 0 <= told.fixed_interval.high
    assert by_people > 0.3 * runs
    assert by_periods <= 6
