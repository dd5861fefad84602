"""Reports over the derived tables against the same computed by hand in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opportune.clock import DAY, HOUR
from opportune.decide.request import DecisionRecord, ExperimentInfo
from opportune.events.event import Event
from opportune.experiments.assignment import Assignment
from opportune.experiments.definitions import parse_experiments
from opportune.experiments.metrics import parse_metrics
from opportune.experiments.statistics.effects import effect, mean, ratio
from opportune.experiments.statistics.intervals import always_valid
from opportune.experiments.statistics.sums import Sums
from opportune.warehouse.analysis import Analysis
from opportune.warehouse.report import report
from opportune.warehouse.tables import Tables, connect, key_of

START = 1_760_000_000_000 // DAY * DAY
T = parse_experiments(
    """
experiments:
  - id: t
    arms: [{id: control}, {id: popular}]
    metrics: [revenue, conversion, order_value, comeback, hours, median_order]
    guardrails: [{metric: conversion, tolerance: 0.05, units: 10}]
    dimensions: [device]
    minimum: {days: 0, units: 0}
"""
).get("t")
METRICS = parse_metrics(
    """
metrics:
  - {id: revenue, kind: sum, event: order_completed, winsorize: 0.98, covariate: 14d}
  - {id: conversion, kind: conversion, event: order_completed}
  - {id: comeback, kind: retention, event: "*", since: 7d, window: 14d}
  - {id: hours, kind: time_to_event, event: order_completed, window: 14d, good: down}
  - {id: median_order, kind: quantile, event: order_completed, q: 0.5}
"""
)


def record(person, arm, time, *, experiment="t", why="assigned", session="", unit=None, **context):
    unit = unit or person.partition(":")[2]
    return DecisionRecord(
        f"d{person}{time}", "home", time, (person,), session, context, {}, [], [], [], [], (), 0, [], [],
        ExperimentInfo(), "personal", [], {}, {}, {}, {},
        (Assignment(experiment, arm, unit, 0.5, why, experiment),),
    )  # fmt: skip


def event(person, name, time, value=None, *more, session=""):
    return Event(
        "track", name, f"{person}{name}{time}", "s", time, time, (person, *more), session, value=value
    )


class Shop:
    """People with known arms and orders, and the tables made of them."""

    def __init__(self, n=600, seed=3):
        rng = np.random.default_rng(seed)
        self.arm = rng.integers(0, 2, n)
        self.first = START + rng.integers(0, 5 * DAY, n)
        self.entries = []
        self.orders = [[] for _ in range(n)]
        self.before = np.zeros(n)
        self.visits = [[] for _ in range(n)]
        for i in range(n):
            who, name = f"user_id:u{i}", ("control", "popular")[self.arm[i]]
            device = "mobile" if i % 3 else "desktop"
            self.entries.append(record(who, name, int(self.first[i]), device=device))
            self.entries.append(record(who, name, int(self.first[i]) + HOUR, device="other", why="sticky"))
            taste = rng.gamma(2, 10)
            if rng.random() < 0.6:
                self.before[i] = round(taste * rng.uniform(0.5, 1.5), 2)
                at = int(self.first[i]) - int(rng.integers(1, 13 * DAY))
                self.entries.append(event(who, "order_completed", at, float(self.before[i])))
            for _ in range(rng.poisson(0.7 + 0.2 * self.arm[i])):
                at = int(self.first[i]) + int(rng.integers(0, 20 * DAY))
                value = round(taste * rng.uniform(0.5, 1.5), 2)
                self.orders[i].append((at, value))
                self.entries.append(event(who, "order_completed", at, value))
            if rng.random() < 0.3 + 0.2 * self.arm[i]:
                at = int(self.first[i]) + int(rng.integers(0, 20 * DAY))
                self.visits[i].append(at)
                self.entries.append(event(who, "product_viewed", at))

    def tables(self, entries=None):
        tables = Tables(connect(None))
        tables.follow(enumerate(self.entries if entries is None else entries, start=1))
        return tables

    def counted(self, i):
        return [(t, v) for t, v in self.orders[i] if t < self.first[i] + 14 * DAY]

    def per_unit(self, of):
        return np.array([float(of(i)) for i in range(len(self.arm))])

    def split(self, y, x=None):
        return [Sums.of(y[self.arm == k], None if x is None else x[self.arm == k]) for k in (0, 1)]


@pytest.fixture(scope="module")
def shop():
    return Shop()


@pytest.fixture(scope="module")
def found(shop):
    return report(shop.tables().connection, T, METRICS, START + 30 * DAY)


def metric(found, name):
    return next(m for m in found.metrics if m.metric.id == name)


def close(comparison, expected):
    assert comparison.lift == pytest.approx(expected.relative, rel=1e-9)
    interval = always_valid(expected, relative=True)
    mine = comparison.lift_interval
    assert (mine.low, mine.high, mine.p) == pytest.approx((interval.low, interval.high, interval.p), rel=1e-9)


def test_units_and_the_ratio_check(shop, found):
    assert found.arms == {"control": int((shop.arm == 0).sum()), "popular": int((shop.arm == 1).sum())}
    assert (found.flipped, found.days) == (0, int((START + 30 * DAY - shop.first.min()) // DAY))
    assert not found.check.wrong


def test_conversion(shop, found):
    arms = shop.split(shop.per_unit(lambda i: bool(shop.counted(i))))
    close(metric(found, "conversion").comparisons[0], effect(mean(arms[0]), mean(arms[1])))


def test_revenue_winsorized_and_adjusted_by_what_came_before(shop, found):
    from opportune.experiments.statistics.effects import cuped_arms

    y = shop.per_unit(lambda i: sum(v for _, v in shop.counted(i)))
    arms = shop.split(np.minimum(y, np.quantile(y, 0.98)), shop.before)
    comparison = metric(found, "revenue").comparisons[0]
    close(comparison, effect(*cuped_arms(arms)))
    plain = [mean(arm).variance for arm in arms]
    assert comparison.variance_saved == pytest.approx(
        1 - sum(p.variance for p in cuped_arms(arms)) / sum(plain), rel=1e-9
    )
    assert comparison.variance_saved > 0.03


def test_revenue_per_order(shop, found):
    y = shop.per_unit(lambda i: sum(v for _, v in shop.counted(i)))
    x = shop.per_unit(lambda i: len(shop.counted(i)))
    close(metric(found, "order_value").comparisons[0], effect(*[ratio(arm) for arm in shop.split(y, x)]))


def test_retention(shop, found):
    def back(i):
        times = [t for t, _ in shop.orders[i]] + shop.visits[i]
        return any(7 * DAY <= t - shop.first[i] < 14 * DAY for t in times)

    close(
        metric(found, "comeback").comparisons[0], effect(*[mean(a) for a in shop.split(shop.per_unit(back))])
    )


def test_time_to_event(shop, found):
    def hours(i):
        return min(((t - shop.first[i]) / HOUR for t, _ in shop.counted(i)), default=14 * 24)

    close(metric(found, "hours").comparisons[0], effect(*[mean(a) for a in shop.split(shop.per_unit(hours))]))


def test_a_quantile_is_of_those_with_the_event(shop, found):
    y = shop.per_unit(lambda i: sum(v for _, v in shop.counted(i)))
    control = y[(shop.arm == 0) & (y > 0)]
    assert metric(found, "median_order").control == pytest.approx(np.quantile(control, 0.5), rel=1e-9)


def test_over_time_ends_where_the_whole_is(found):
    conversion = metric(found, "conversion")
    last = conversion.over_time[-1]["arms"]["popular"]
    assert last[0] == pytest.approx(conversion.comparisons[0].lift)
    assert len(conversion.over_time) == 5


def test_dimensions_add_up_to_the_whole(shop, found):
    rows = metric(found, "conversion").by_dimension["device"]
    assert {row["value"] for row in rows} == {"mobile", "desktop"}  # as of the first exposure
    assert sum(row["n"] for row in rows) == found.arms["popular"]
    assert set(found.dimension_checks["device"]) == {"mobile", "desktop"}


def test_what_does_not_count_is_told(shop, found):
    late = sum(len(shop.orders[i]) - len(shop.counted(i)) for i in range(600))
    before = int((shop.before > 0).sum())
    told = {"before_exposure": before, "after_window": late, "again": 0, "no_exposure": 0}
    assert metric(found, "conversion").misplaced == told
    assert f"{before} outcomes of conversion came before the exposure: they do not count" in found.messages


def test_taking_in_twice_or_in_pieces_changes_nothing(shop):
    whole = shop.tables()
    pieces = Tables(connect(None))
    numbered = list(enumerate(shop.entries, start=1))
    for start in range(0, len(numbered), 137):
        pieces.follow(numbered[: start + 137])
    for table in ("exposures", "events", "people"):
        query = f"select * from {table} order by all"
        assert whole.connection.execute(query).fetchall() == pieces.connection.execute(query).fetchall()
    assert pieces.reached == len(numbered) + 1


def test_a_follower_that_dies_in_a_batch_leaves_nothing_of_it(shop):
    tables = Tables(connect(None))
    tables.follow(enumerate(shop.entries[:100], start=1))
    before = tables.connection.execute("select count(*) from events").fetchone()
    insert = tables._insert

    def dies(table, rows, types, *, verb="insert"):
        if table == "people":
            raise OSError("killed")
        insert(table, rows, types, verb=verb)

    tables._insert = dies
    with pytest.raises(OSError, match="killed"):
        tables.follow(enumerate(shop.entries, start=1))
    tables._insert = insert
    assert (tables.reached, tables.connection.execute("select count(*) from events").fetchone()) == (
        101,
        before,
    )
    tables.follow(enumerate(shop.entries, start=1))
    assert tables.reached == len(shop.entries) + 1


def test_two_people_who_are_one_count_once_where_they_first_were():
    entries = [
        record("anonymous_id:a", "popular", START),
        record("anonymous_id:b", "control", START + 5),
        Event("identify", "identify", "m", "s", START + 9, START + 9, ("user_id:u", "anonymous_id:a")),
        Event("identify", "identify", "n", "s", START + 9, START + 9, ("user_id:u", "anonymous_id:b")),
        event("user_id:u", "order_completed", START + 20, 10.0),
    ]
    one = ["user_id:u", "anonymous_id:a", "anonymous_id:b"]
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1), lambda i: one if i in one else [i])
    found = report(tables.connection, T, METRICS, START + DAY)
    assert found.arms == {"control": 0, "popular": 1}
    assert found.flipped == 1
    assert "1 saw more than one arm (people that turned out to be one): they count where they first were" in (
        found.messages
    )
    assert "the arm control has no data yet" in found.messages
    left_out = report(tables.connection, T, METRICS, START + DAY, exclude_flips=True)
    assert left_out.arms == {"control": 0, "popular": 0}


def test_an_arm_that_was_removed_is_told_and_left_out():
    entries = [record(f"user_id:u{i}", ["control", "popular", "gone"][i % 3], START + i) for i in range(90)]
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1))
    found = report(tables.connection, T, METRICS, START + DAY)
    assert found.arms == {"control": 30, "popular": 30}
    assert "the arm gone was removed while running: 30 who saw it are left out" in found.messages
    assert "revenue per order divides by zero in control: it has no value" in found.messages
    assert math.isnan(metric(found, "order_value").comparisons[0].lift)


def test_sessions_are_joined_by_their_id():
    experiment = parse_experiments(
        "experiments: [{id: t, unit: session, arms: [{id: control}, {id: popular}], metrics: [conversion]}]"
    ).get("t")
    entries = [
        record("user_id:u", ["control", "popular"][k % 2], START + k, session=f"s{k}") for k in range(10)
    ]
    entries += [event("user_id:u", "order_completed", START + 50, 5.0, session="s1")]
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1))
    analysis = Analysis(tables.connection, experiment)
    analysis.fill([METRICS.get("conversion")])
    sums = analysis.sums(0)
    assert {arm: (s.n, s.y) for (_, arm), s in sums.items()} == {"control": (5, 0.0), "popular": (5, 0.2)}


def many(control, popular, n=3_000):
    entries = []
    for i in range(n):
        arm = ("control", "popular")[i % 2]
        entries.append(record(f"user_id:u{i}", arm, START + i))
        if i // 2 % 100 < (control, popular)[i % 2]:
            entries.append(event(f"user_id:u{i}", "order_completed", START + i + 9, 10.0))
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1))
    return tables.connection


@pytest.mark.parametrize(
    ("control", "popular", "verdict"), [(20, 30, "ship"), (30, 10, "stop"), (20, 20, "no_difference")]
)
def test_the_decision_recommended(control, popular, verdict):
    found = report(many(control, popular), T, METRICS, START + DAY)
    assert found.verdict == verdict
    assert any(g.breached for g in found.guardrails) == (verdict == "stop")


def test_a_wrong_sample_ratio_forbids_any_decision():
    connection = many(20, 30)
    connection.execute("delete from exposures where arm = 'control' and seq % 3 = 0")
    found = report(connection, T, METRICS, START + DAY)
    assert found.verdict == "do_not_trust"
    assert "were asked for" in found.because


def test_too_early_is_said():
    import msgspec

    from opportune.experiments.definitions import Minimum

    early = msgspec.structs.replace(T, minimum=Minimum())
    found = report(many(20, 30), early, METRICS, START + DAY)
    assert found.verdict == "wait"
    assert found.because == "1 days and 1500 units in the smallest arm: decide after 14 days or 10000 units"


def test_identifiers_are_not_in_the_tables(shop):
    rows = shop.tables().connection.execute("select leaf from exposures limit 1").fetchall()
    assert rows == [(key_of("user_id:u0"),)]
