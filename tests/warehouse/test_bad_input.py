"""Bad input of experiments, through the whole engine to the report: each has a result and a message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opportune.clock import DAY, HOUR, FixedClock
from opportune.engine.engine import Engine
from opportune.errors import InvalidDefinition
from opportune.experiments.definitions import parse_experiments
from opportune.warehouse.report import Report
from opportune.warehouse.reports import Reports

EXPERIMENTS = """
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: control}, {id: popular}]
    metrics: [conversion, revenue, order_value, middle, messages]
    minimum: {days: 0, units: 0}
"""
METRICS = """
metrics:
  - {id: middle, kind: quantile, event: order_completed, q: 0.5}
  - {id: messages, kind: sum, event: order_completed, distinct: ""}
"""


class Shop:
    """An engine under the experiment, and its reports."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FixedClock()
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        (self.workspace / "metrics.yaml").write_text(METRICS, encoding="utf-8")
        self.open(EXPERIMENTS)

    def open(self, experiments: str) -> None:
        (self.workspace / "experiments.yaml").write_text(experiments, encoding="utf-8")
        self.engine = Engine.open(self.folder / "data", workspace=self.workspace, clock=self.clock)
        self.reports = Reports.of(self.engine, self.folder / "data")

    def close(self) -> None:
        self.reports.close()
        self.engine.close()

    def decide(self, user: str) -> str:
        """Show the page; the arm."""
        self.clock.advance(1_000)
        [decision] = self.engine.decide(
            {"placement": "home_recs", "identifiers": {"user_id": user}}
        ).decisions
        return decision.experiment.variant

    def people(self, n: int = 40) -> dict[str, str]:
        return {f"u{i}": self.decide(f"u{i}") for i in range(n)}

    def order(self, user: str, **fields: Any) -> Any:
        self.clock.advance(1_000)
        properties = {"order_id": f"o{user}{self.clock()}", "total": 20.0, "products": []}
        event = {"type": "track", "userId": user, "event": "Order Completed", "properties": properties}
        return self.engine.ingest(event | fields)

    def report(self) -> Report:
        self.engine.flush()
        self.reports.catch_up()
        return self.reports.report("t")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path)
    yield found
    found.close()


def rates(found: Report) -> tuple[float, float]:
    """The control's and the other arm's share of people who order."""
    conversion = found.metrics[0]
    return conversion.control, conversion.comparisons[0].value


def one_of(arms: dict[str, str], arm: str) -> str:
    return next(user for user, its in arms.items() if its == arm)


def test_outcomes_with_no_decision_are_kept_and_count_for_no_arm(shop: Shop) -> None:
    shop.people()
    for i in range(3):
        assert shop.order(f"stranger{i}").stored == 1
    found = shop.report()
    assert rates(found) == (0.0, 0.0)
    assert found.metrics[0].misplaced == {
        "before_exposure": 0,
        "after_window": 0,
        "again": 0,
        "no_exposure": 3,
    }
    assert "3 outcomes of people who order are of nobody in the experiment: they do not count" in (
        found.messages
    )


def test_an_outcome_of_a_decision_that_never_was_counts_by_its_person(shop: Shop) -> None:
    arms = shop.people()
    properties = {"decision_id": "0" * 24, "total": 5.0, "products": []}
    assert shop.order(one_of(arms, "control"), properties=properties).stored == 1
    assert rates(shop.report()) == (1 / list(arms.values()).count("control"), 0.0)


def test_an_outcome_sent_twice_counts_once(shop: Shop) -> None:
    arms = shop.people()
    who = one_of(arms, "popular")
    receipts = [shop.order(who, messageId="m1") for _ in range(3)]
    assert [(r.stored, r.duplicate) for r in receipts] == [(1, 0), (0, 1), (0, 1)]
    assert shop.engine.accounting()["total"]["duplicate"] == 2
    found = shop.report()
    n = list(arms.values()).count("popular")
    assert rates(found) == (0.0, 1 / n)
    assert found.metrics[1].comparisons[0].value == pytest.approx(20.0 / n)


def test_an_order_sent_twice_under_different_message_ids_counts_once(shop: Shop) -> None:
    """Once by the browser and once by the server: the same order_id, two messages."""
    arms = shop.people()
    who = one_of(arms, "popular")
    order = {"order_id": "o1", "total": 20.0, "products": []}
    receipts = [shop.order(who, messageId=f"m{n}", properties=order) for n in range(3)]
    receipts.append(shop.order(who, messageId="m4", properties={**order, "order_id": "o2"}))
    assert [r.stored for r in receipts] == [1, 1, 1, 1]
    found = shop.report()
    n = list(arms.values()).count("popular")
    told = {m.metric.id: m for m in found.metrics}
    assert told["revenue"].comparisons[0].value == pytest.approx(2 * 20.0 / n)
    assert told["messages"].comparisons[0].value == pytest.approx(4 * 20.0 / n)
    assert told["order_value"].comparisons[0].value == pytest.approx(20.0)
    assert told["revenue"].misplaced["again"] == 2
    assert told["messages"].misplaced["again"] == 0
    assert (
        "2 outcomes of revenue per person came again with the same order_id: they do not count"
        in found.messages
    )


def test_an_order_id_is_anothers_order_where_another_person_sent_it(shop: Shop) -> None:
    arms = shop.people()
    for who in (one_of(arms, "popular"), one_of(arms, "control")):
        shop.order(who, properties={"order_id": "o1", "total": 20.0, "products": []})
    assert not any(m.misplaced["again"] for m in shop.report().metrics)


def test_tables_made_before_orders_had_ids_are_read_on(shop: Shop) -> None:
    arms = shop.people()
    shop.order(one_of(arms, "popular"))
    before = rates(shop.report())
    for table in ("events", "held_events"):
        shop.reports.tables.connection.execute(f"alter table {table} drop column order_key")
    shop.reports.close()
    shop.reports = Reports.of(shop.engine, shop.folder / "data")
    assert rates(shop.report()) == before


def test_an_outcome_before_the_decision_does_not_count(shop: Shop) -> None:
    early = shop.clock() - HOUR
    arms = shop.people()
    shop.order("u0", timestamp=early)
    found = shop.report()
    assert sum(found.arms.values()) == len(arms)
    assert rates(found) == (0.0, 0.0)
    assert found.metrics[0].misplaced == {
        "before_exposure": 1,
        "after_window": 0,
        "again": 0,
        "no_exposure": 0,
    }
    assert "1 outcomes of people who order came before the exposure: they do not count" in found.messages


def test_an_outcome_years_late_does_not_count(shop: Shop) -> None:
    shop.people()
    shop.clock.advance(3 * 365 * DAY)
    assert shop.order("u0").stored == 1
    found = shop.report()
    assert rates(found) == (0.0, 0.0)
    assert found.metrics[0].misplaced == {
        "before_exposure": 0,
        "after_window": 1,
        "again": 0,
        "no_exposure": 0,
    }
    assert "1 outcomes of people who order came after the window: they do not count" in found.messages


def test_an_outcome_that_arrives_years_late_counts_when_it_happened(shop: Shop) -> None:
    arms = shop.people()
    happened = shop.clock() + HOUR
    shop.clock.advance(3 * 365 * DAY)
    shop.order(one_of(arms, "control"), timestamp=happened)
    assert rates(shop.report()) == (1 / list(arms.values()).count("control"), 0.0)


@pytest.mark.parametrize("error", [-400 * DAY, -HOUR, HOUR, 400 * DAY])
def test_a_clients_wrong_clock_is_taken_out_by_its_sending_time(shop: Shop, error: int) -> None:
    arms = shop.people()
    who = one_of(arms, "control")
    shop.clock.advance(HOUR)
    wrong = shop.clock() + error
    shop.order(who, timestamp=wrong - 5_000, sentAt=wrong)
    found = shop.report()
    assert rates(found) == (1 / list(arms.values()).count("control"), 0.0)
    assert not any(found.metrics[0].misplaced.values())


def test_clocks_that_disagree_without_a_sending_time(shop: Shop) -> None:
    """Ahead is clamped to the arrival and counts; behind is believed, so it came before the exposure."""
    arms = shop.people()
    ahead, behind = one_of(arms, "control"), one_of(arms, "popular")
    shop.order(ahead, timestamp=shop.clock() + 400 * DAY)
    shop.order(behind, timestamp=shop.clock() - HOUR)
    found = shop.report()
    assert rates(found) == (1 / list(arms.values()).count("control"), 0.0)
    assert "1 outcomes of people who order came before the exposure: they do not count" in found.messages


def test_a_variant_removed_while_running(shop: Shop) -> None:
    arms = shop.people()
    gone = list(arms.values()).count("popular")
    shop.close()
    shop.open(EXPERIMENTS.replace("{id: popular}", "{id: newest}"))
    assert shop.decide(one_of(arms, "popular")) == "", "who saw it sees the placement as it is"
    assert shop.decide(one_of(arms, "control")) == "control"
    found = shop.report()
    assert found.arms == {"control": len(arms) - gone, "newest": 0}
    assert f"the arm popular was removed while running: {gone} who saw it are left out" in found.messages
    assert "the arm newest has no data yet" in found.messages


def test_weights_that_do_not_sum_are_refused_before_anybody_is_assigned() -> None:
    text = EXPERIMENTS.replace("{id: control}", "{id: control, weight: 0.5}").replace(
        "{id: popular}", "{id: popular, weight: 0.6}"
    )
    with pytest.raises(InvalidDefinition) as told:
        parse_experiments(text)
    assert str(told.value) == (
        "the weights do not sum to 1, saw 1.1, at experiments.yaml $.experiments[0].arms: change them so "
        "that they do, or leave all out for equal shares"
    )


def test_a_metric_that_divides_by_zero_has_no_value_and_the_others_have(shop: Shop) -> None:
    arms = shop.people()
    shop.order(one_of(arms, "control"))
    found = shop.report()
    conversion, _, order_value, middle, _ = found.metrics
    assert order_value.control == 20.0
    assert math.isnan(order_value.comparisons[0].value)
    assert math.isnan(order_value.comparisons[0].lift)
    assert conversion.comparisons[0].lift == pytest.approx(-1.0)
    assert math.isnan(middle.control)
    assert "revenue per order divides by zero in popular: it has no value" in found.messages
    assert "middle needs two units with the event and control has fewer: it has no value" in found.messages
    assert msgspec.json.decode(msgspec.json.encode(found))["metrics"][2]["comparisons"][0]["lift"] is None


def test_nothing_in_the_control_gives_a_difference_and_no_lift(shop: Shop) -> None:
    arms = shop.people()
    shop.order(one_of(arms, "popular"))
    found = shop.report()
    [told] = found.metrics[0].comparisons
    assert told.difference == pytest.approx(1 / list(arms.values()).count("popular"))
    assert math.isnan(told.lift)
    assert "people who order is 0 in control: a difference has a value, a lift has none" in found.messages


def test_an_arm_with_no_data(shop: Shop) -> None:
    arm = shop.decide("u1")
    other = {"control": "popular", "popular": "control"}[arm]
    shop.order("u1")
    found = shop.report()
    assert found.arms == {arm: 1, other: 0}
    assert f"the arm {other} has no data yet" in found.messages
    assert found.check.word == "no value yet"
    assert (found.verdict, found.metrics[0].comparisons[0].p) == ("no_difference", 1.0)


def test_no_data_at_all(shop: Shop) -> None:
    found = shop.report()
    assert found.arms == {"control": 0, "popular": 0}
    assert found.messages[:2] == ["the arm control has no data yet", "the arm popular has no data yet"]
    assert found.check.word == "no value yet"
    assert (found.verdict, found.because) == (
        "no_difference",
        "people who order has no value in one of the arms",
    )
