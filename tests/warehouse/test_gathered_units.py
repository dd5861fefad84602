"""Experiments on accounts and households: the unit that is drawn is the unit that is counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.warehouse.test_report import event, metric, record

from opportune.clock import DAY, HOUR
from opportune.experiments.definitions import parse_experiments
from opportune.experiments.metrics import parse_metrics
from opportune.warehouse.analysis import Analysis
from opportune.warehouse.report import report
from opportune.warehouse.tables import Tables, connect, key_of

START = 1_760_000_000_000 // DAY * DAY
NOW = START + 30 * DAY
T = parse_experiments(
    """
experiments:
  - id: t
    unit: household
    arms: [{id: control}, {id: popular}]
    metrics: [revenue, conversion]
    minimum: {days: 0, units: 0}
"""
).get("t")
METRICS = parse_metrics(
    """
metrics:
  - {id: revenue, kind: sum, event: order_completed}
  - {id: conversion, kind: conversion, event: order_completed}
"""
)


def tables(entries):
    found = Tables(connect(None))
    found.follow(enumerate(entries, start=1))
    return found.connection


def values(connection, experiment=T):
    """Household -> (arm, revenue)."""
    analysis = Analysis(connection, experiment)
    analysis.fill([METRICS.get("revenue")])
    rows = connection.execute(
        "select u.unit, u.arm, coalesce(o.y0, 0) from units u left join outcomes o on o.unit = u.unit"
    ).fetchall()
    return {unit: (analysis.arms[arm], value) for unit, arm, value in rows}


def exposed(person, household, arm, time):
    return record(person, arm, time, unit=household)


def test_everybody_in_the_household_counts_once_in_its_sum():
    entries = [
        exposed("user_id:a", "h1", "control", START),
        exposed("user_id:b", "h1", "control", START + HOUR),
        exposed("user_id:c", "h2", "popular", START),
        event("user_id:a", "order_completed", START + 2 * HOUR, 20.0),
        event("user_id:b", "order_completed", START + 3 * HOUR, 5.0),
        event("user_id:b", "order_completed", START - HOUR, 1_000.0),  # before
        event("user_id:d", "order_completed", START + 2 * HOUR, 7.0),  # never exposed
    ]
    assert values(tables(entries)) == {
        key_of("h1"): ("control", 20.0 + 5.0), key_of("h2"): ("popular", 0.0),
    }  # fmt: skip


def test_who_comes_later_counts_from_the_households_first_exposure():
    """Whether and when a member shows up may be an effect of the arm, so it must not choose what counts."""
    entries = [
        exposed("user_id:a", "h1", "control", START),
        event("user_id:b", "order_completed", START + HOUR, 5.0),
        exposed("user_id:b", "h1", "control", START + 2 * HOUR),
    ]
    assert values(tables(entries)) == {key_of("h1"): ("control", 5.0)}


def test_who_moves_counts_where_they_were_then_and_the_flip_is_told():
    entries = [
        exposed("user_id:a", "h1", "control", START),
        event("user_id:a", "order_completed", START + HOUR, 3.0),
        exposed("user_id:b", "h2", "popular", START),
        exposed("user_id:a", "h2", "popular", START + DAY),
        event("user_id:a", "order_completed", START + DAY + HOUR, 50.0),
        exposed("user_id:a", "h1", "control", START + 2 * DAY),
        event("user_id:a", "order_completed", START + 2 * DAY + HOUR, 4.0),
        exposed("user_id:c", "h3", "popular", START),
        exposed("user_id:c", "h2", "popular", START + DAY),  # moved, and saw the same arm
    ]
    connection = tables(entries)
    assert values(connection) == {
        key_of("h1"): ("control", 3.0 + 4.0),
        key_of("h2"): ("popular", 50.0),
        key_of("h3"): ("popular", 0.0),
    }
    found = report(connection, T, METRICS, NOW)
    assert (found.arms, found.flipped) == ({"control": 1, "popular": 2}, 2)
    flips = "2 saw more than one arm (somebody moved from one to another): they count where they first were"
    assert flips in found.messages
    assert report(connection, T, METRICS, NOW, exclude_flips=True).arms == {"control": 0, "popular": 1}
    assert "units are households: people of one are counted together" in found.messages


def world(seed, lift=0.0, households=300):
    """Households of one to five people, whose tastes are alike; and the totals counted by hand."""
    rng = np.random.default_rng(seed)
    entries, totals, arms = [], np.zeros(households), rng.integers(0, 2, households)
    for h in range(households):
        taste = rng.gamma(1.0, 30.0) * (1 + lift * arms[h])
        for p in range(rng.integers(1, 6)):
            who, first = f"user_id:h{h}p{p}", START + int(rng.integers(0, DAY))
            entries.append(exposed(who, f"h{h}", ("control", "popular")[arms[h]], first))
            value = round(taste * rng.uniform(0.8, 1.2), 2)
            totals[h] += value
            entries.append(event(who, "order_completed", START + 2 * DAY, value))
    return entries, totals, arms


def test_the_comparison_is_welchs_over_households():
    entries, totals, arms = world(1, lift=0.3)
    revenue = metric(report(tables(entries), T, METRICS, NOW), "revenue")
    [compared] = revenue.comparisons
    a, b = totals[arms == 0], totals[arms == 1]
    assert revenue.control == pytest.approx(a.mean())
    assert (compared.n, compared.value) == (len(b), pytest.approx(b.mean()))
    welch = stats.ttest_ind(b, a, equal_var=False)
    analysis = Analysis(tables(entries), T)
    analysis.fill([METRICS.get("revenue")])
    sums = analysis.sums(0)
    found = {arm: s for (_, arm), s in sums.items()}
    error = np.sqrt(sum(s.yy / s.n / (s.n - 1) for s in found.values()))
    assert (b.mean() - a.mean()) / error == pytest.approx(welch.statistic, rel=1e-9)


def test_two_browsers_of_one_person_share_no_outcome():
    """The unit is the browser; an order belongs to the one that was seen last."""
    by_browser = parse_experiments(
        "experiments: [{id: t, unit: anonymous_id, arms: [{id: a}, {id: b}]}]"
    ).get("t")
    entries = [
        exposed("user_id:u", "phone", "a", START),
        exposed("user_id:u", "laptop", "b", START + DAY),
        event("user_id:u", "order_completed", START + HOUR, 2.0),
        event("user_id:u", "order_completed", START + DAY + HOUR, 9.0),
    ]
    assert values(tables(entries), by_browser) == {key_of("phone"): ("a", 2.0), key_of("laptop"): ("b", 9.0)}
