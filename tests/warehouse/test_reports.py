"""Reports of a running engine: tables that follow it, guardrails that stop, the page for finance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from opportune.access.audit import AuditLog
from opportune.cli.serving import watch_guardrails
from opportune.clock import DAY, FixedClock
from opportune.engine.engine import Engine
from opportune.errors import InvalidDefinition, NotFound
from opportune.events.rights import Right
from opportune.warehouse.reports import Reports

EXPERIMENTS = """
holdout: {share: 0.3}
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
    metrics: [conversion, revenue]
    guardrails: [{metric: conversion, tolerance: 0.1, units: 50}]
    minimum: {days: 0, units: 0}
"""
BANDIT = """
  - id: hero
    name: The hero
    placements: [home_recs]
    arms: [{id: calm}, {id: bold}, {id: loud}]
    bandit: {guard: {trials: 100, agreement: 0.1}}
"""


def shop(tmp_path: Path, *, bad: str = "", people: int = 900, more: str = "") -> tuple[Engine, Path]:
    """People who look at the page; those who are treated and not in the ``bad`` arm order more often."""
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "experiments.yaml").write_text(EXPERIMENTS + more, encoding="utf-8")
    engine = Engine.open(tmp_path / "data", workspace=workspace, clock=FixedClock())
    for i in range(people):
        engine.clock.advance(DAY // 300)
        [decision] = engine.decide({"placement": "home_recs", "identifiers": {"user_id": f"u{i}"}}).decisions
        good = not decision.experiment.holdout and decision.experiment.variant != bad
        if i % 10 < (7 if good else 2):
            order = {"order_id": f"o{i}", "revenue": 20.0 + i % 7, "products": []}
            engine.ingest(
                {"type": "track", "userId": f"u{i}", "event": "Order Completed", "properties": order}
            )
    engine.flush()
    return engine, tmp_path / "data"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Reports]:
    engine, data = shop(tmp_path)
    with engine:
        reports = Reports.of(engine, data)
        yield reports
        reports.close()


def test_the_business_report_is_the_difference_times_the_treated(served: Reports) -> None:
    served.catch_up()
    found = served.business()
    assert found.held + found.treated == 900
    assert found.earned == pytest.approx((found.per_treated - found.per_held) * found.treated)
    assert found.earned_interval.low > 0
    assert found.sentence.startswith("Personalization earned")
    assert not found.check.wrong
    assert msgspec.json.decode(msgspec.json.encode(found))["held"] == found.held


def sums(served: Reports) -> tuple[int, int, float, float]:
    """People held and treated, and money per person to a millionth: a sum depends on its order beyond."""
    found = served.business()
    return found.held, found.treated, round(found.per_held, 6), round(found.per_treated, 6)


def test_who_does_not_allow_to_be_measured_is_in_no_report_until_they_do(served: Reports) -> None:
    engine = served.engine
    served.catch_up()
    before = sums(served)
    rows = served.tables.connection.execute("select count(*) from events").fetchone()
    people = ["user_id:u1", "user_id:u2", "user_id:u3"]

    def all_of(right: Right, **about: list[str]) -> None:
        engine.clock.advance(1_000)
        for name in people:
            engine.commit(engine.rights.exercise(right, name, who="user:officer", **about))
        engine.flush()
        served.catch_up()

    all_of("restrict")
    found = sums(served)
    assert found[0] + found[1] == 900 - len(people)
    order = {"order_id": "late", "revenue": 1_000.0, "products": []}
    engine.ingest({"type": "track", "userId": "u1", "event": "Order Completed", "properties": order})
    served.catch_up()
    assert sums(served) == found
    all_of("lift")
    assert sums(served) == before, "what came in between is not measured afterwards"
    assert served.tables.connection.execute("select count(*) from events").fetchone() == rows
    all_of("object", uses=["measure"])
    assert sums(served) == found
    assert engine.erase(*people).removed.derived_rows > 0
    assert served.tables.connection.execute("select count(*) from held_exposures").fetchone() == (0,)


def test_a_report_is_rows_for_a_notebook(served: Reports) -> None:
    served.catch_up()
    found = served.report("t")
    rows = found.rows()
    assert [(row["metric"], row["arm"]) for row in rows] == [
        ("conversion", "popular"), ("revenue", "popular"),
    ]  # fmt: skip
    told = found.metrics[0].comparisons[0]
    assert (rows[0]["value"], rows[0]["low"]) == (told.value, told.lift_interval.low)
    assert {type(value) for row in rows for value in row.values()} <= {str, int, float}


def test_catching_up_in_slices_and_again_takes_everything_once(served: Reports) -> None:
    taken = 0
    while n := served.catch_up(101):
        taken += n
    assert taken == served.engine.journal.durable_seq - 1
    assert served.catch_up() == 0
    assert sum(served.report("t").arms.values()) + served.business().held == 900


def test_tables_survive_a_restart(tmp_path: Path) -> None:
    engine, data = shop(tmp_path, people=100)
    with engine:
        reports = Reports.of(engine, data)
        before = reports.catch_up()
        reports.close()
        reopened = Reports.of(engine, data)
        assert before > 100
        assert reopened.catch_up() == 0
        assert sum(reopened.report("t").arms.values()) > 0
        reopened.close()


def test_a_broken_guardrail_stops_the_experiment(tmp_path: Path) -> None:
    engine, data = shop(tmp_path, bad="popular")
    with engine:
        reports = Reports.of(engine, data)
        audit = AuditLog(data)

        async def watched() -> None:
            task = asyncio.create_task(watch_guardrails(reports, audit, 0.01))
            for _ in range(500):
                await asyncio.sleep(0.02)
                if engine.state.switches.stopped:
                    break
            task.cancel()

        asyncio.run(watched())
        assert engine.state.switches.stopped == {"t"}
        [noted] = audit.newest(did="experiment.stop")
        assert (noted.who, noted.what["experiment"]) == ("guardrail", "t")
        audit.close()
        assert "conversion is worse by more than 10.0%" in engine.state.switches.last["t"].why.replace(
            "people who order", "conversion"
        )
        [row] = [e for e in reports.list() if e["id"] == "t"]
        assert row["status"] == "stopped"
        assert list(reports.breaches()) == []
        decision = engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}}).decisions[0]
        assert decision.experiment.id in ("", "holdout")
        reports.close()


def test_without_a_holdout_nothing_is_claimed(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", clock=FixedClock()) as engine:
        reports = Reports(engine)
        with pytest.raises(NotFound, match="there is no universal holdout"):
            reports.business()
        reports.close()


def test_before_anybody_came_the_business_report_says_so(tmp_path: Path) -> None:
    engine, data = shop(tmp_path, people=0)
    with engine:
        reports = Reports.of(engine, data)
        reports.catch_up()
        assert reports.business().sentence == (
            "Not settled yet: 0 people held out and 0 not are too few to say anything."
        )
        reports.close()


def test_a_metric_that_is_not_declared_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(
        "experiments: [{id: t, metrics: [joy], arms: [{id: a}, {id: b}]}]", encoding="utf-8"
    )
    with pytest.raises(
        InvalidDefinition, match=r"no such metric, saw 'joy', at experiments.yaml t \$.metrics"
    ):
        Engine.open(tmp_path / "data", workspace=tmp_path)
