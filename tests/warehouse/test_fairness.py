"""Fairness audits: what differs is found, what does not is left alone, what is too little is said."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest
from tests.warehouse.test_report import START, event, record

from opportune.clock import DAY, HOUR
from opportune.errors import InvalidRequest, NotFound
from opportune.experiments.definitions import Experiment, parse_experiments
from opportune.experiments.metrics import parse_metrics
from opportune.experiments.statistics.shares import Share
from opportune.warehouse.fairness import Audit, audit, compare
from opportune.warehouse.tables import Tables, connect, key_of

T = parse_experiments(
    """
experiments:
  - id: t
    arms: [{id: control}, {id: gold}]
    metrics: [revenue, conversion]
"""
).get("t")
METRICS = parse_metrics("{}")
NOW = START + 30 * DAY


def connection(given: dict[str, tuple[float, int]], seed: int = 11) -> tuple[Any, dict[str, list[int]]]:
    """``given``: region -> (chance of gold, people); and for each region [people, gold, orders]."""
    rng = np.random.default_rng(seed)
    entries: list[Any] = []
    counts: dict[str, list[int]] = {}
    for region, (chance, people) in given.items():
        gold, orders = rng.random(people) < chance, rng.random(people) < 0.3
        counts[region] = [people, int(gold.sum()), int(orders.sum())]
        for i in range(people):
            who, at = f"user_id:{region}{i}", START + i * HOUR // 100
            entries.append(record(who, "gold" if gold[i] else "control", at, region=region))
            if orders[i]:
                entries.append(event(who, "order_completed", at + HOUR, 10.0))
    tables = Tables(connect(None))
    tables.follow(enumerate(entries, start=1))
    return tables.connection, counts


def of(given: dict[str, tuple[float, int]], experiment: Experiment = T, **how: Any) -> Audit:
    return audit(connection(given)[0], experiment, METRICS, "region", NOW, **how)


def test_a_group_that_is_treated_half_as_often_is_found() -> None:
    found = of({"north": (0.5, 1000), "south": (0.25, 1000), "west": (0.5, 1000)})
    [shares] = found.given
    groups = {group.group: group for group in shares.groups}
    assert found.unfair
    assert groups["south"].finding == "less"
    assert groups["south"].ratio_low < 0.5 < groups["south"].ratio_high < 0.8
    assert {groups["north"].finding, groups["west"].finding} == {"highest", "alike"}
    assert found.verdict.startswith("south gets gold 0.")
    assert "below four fifths, and not by chance" in found.verdict


def test_numbers_are_those_of_statsmodels() -> None:
    asked = {"a": (0.5, 400), "b": (0.35, 300), "c": (0.45, 500)}
    _, counts = connection(asked)
    found = of(asked)
    for shares, k in ((found.given[0], 1), (found.outcomes[0], 2)):
        pairs = list(combinations("abc", 2))
        ps = [
            proportions_ztest([counts[a][k], counts[b][k]], [counts[a][0], counts[b][0]])[1] for a, b in pairs
        ]
        qs = dict(zip(pairs, multipletests(ps, method="holm")[1], strict=True))
        top = counts[shares.highest]
        for group in shares.groups:
            mine = counts[group.group]
            assert (group.n, group.count) == (mine[0], mine[k])
            wilson = proportion_confint(mine[k], mine[0], method="wilson")
            assert (group.low, group.high) == pytest.approx(wilson, abs=1e-6)
            if group.group == shares.highest:
                continue
            low, high = confint_proportions_2indep(
                mine[k], mine[0], top[k], top[0], compare="ratio", method="log", alpha=0.05 / 3
            )
            assert (group.ratio_low, group.ratio_high) == pytest.approx((low, high), abs=1e-6)
            first, second = sorted((group.group, shares.highest))
            assert group.q == pytest.approx(qs[first, second], abs=1e-6)
    assert [shares.of for shares in found.outcomes] == ["conversion"]


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_equal_rates_raise_at_most_five_percent_false_alarms(groups: int) -> None:
    rng = np.random.default_rng(5)
    runs, alarms = 1000, 0
    for _ in range(runs):
        shares = {str(g): Share(int(rng.binomial(300, 0.3)), 300) for g in range(groups)}
        [found] = compare({"gold": shares})
        alarms += any(group.finding.startswith("less") for group in found.groups)
    # With 2 groups the level is exact, so that the share of alarms is known to three standard errors.
    assert alarms / runs <= 0.05 + (3 * (0.05 * 0.95 / runs) ** 0.5 if groups == 2 else 0)
    assert alarms > 0


def test_small_groups_say_so() -> None:
    found = of({"north": (0.5, 1000), "isle": (0.0, 12)})
    assert {g.group: g.finding for g in found.given[0].groups} == {"north": "cannot tell", "isle": "too few"}
    assert found.verdict == (
        "Too little data: there are no two groups that can be compared. Too few to judge: isle (12)."
    )
    assert not found.unfair
    three = of({"isle": (0.0, 12), "north": (0.5, 1000), "south": (0.25, 1000)})
    assert three.verdict.startswith("south gets gold")
    assert three.verdict.endswith(" Too few to judge: isle (12).")
    some = of({"north": (0.5, 60), "south": (0.5, 60)})
    assert "Too little data to rule out less than four fifths" in some.verdict


def test_a_small_real_difference_is_within_four_fifths() -> None:
    found = of({"north": (0.5, 6000), "south": (0.44, 6000)})
    assert not found.unfair
    assert "above four fifths, and not by chance" in found.verdict


def test_a_group_that_never_gets_it_is_found() -> None:
    found = of({"north": (0.5, 500), "south": (0.0, 500)})
    south = found.given[0].groups[1]
    assert (south.ratio, south.finding) == (0.0, "less")
    assert south.ratio_high < 0.1


def test_a_segment_and_a_span_of_time() -> None:
    tables, counts = connection({"north": (0.5, 400), "south": (0.25, 400)})
    south = {key_of(f"user_id:south{i}") for i in range(400)}
    found = audit(tables, T, METRICS, "segment.south", NOW, belonging=south)
    groups = {group.group: [group.n, group.count] for group in found.given[0].groups}
    assert groups == {"in it": counts["south"][:2], "not in it": counts["north"][:2]}
    later = audit(tables, T, METRICS, "region", NOW, since=START + 2 * HOUR)
    assert {group.n for group in later.given[0].groups} == {200}
    assert audit(tables, T, METRICS, "region", NOW, placement="home").units == 800
    assert audit(tables, T, METRICS, "region", NOW, placement="cart").units == 0


def test_what_cannot_be_audited() -> None:
    with pytest.raises(
        NotFound, match=r"has this field of the context.*'colour'.*known are: placement, region"
    ):
        audit(connection({"north": (0.5, 40)})[0], T, METRICS, "colour", NOW)
    periods = msgspec.structs.replace(T, unit="time")
    with pytest.raises(InvalidRequest, match="a switchback draws periods"):
        of({"north": (0.5, 40)}, periods)
    with pytest.raises(InvalidRequest, match=r"more than 100 groups.*101"):
        compare({"gold": {str(g): Share(50, 100) for g in range(101)}})
