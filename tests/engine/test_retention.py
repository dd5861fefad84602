"""What is past its time cannot be read any more, and state is as if it had never come."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_erasure import people

from opportune import Engine
from opportune.clock import DAY, HOUR, FixedClock
from opportune.engine.retiring import Retired
from opportune.engine.turns import at_once
from opportune.errors import NotFound, Overloaded
from opportune.events.event import Event
from opportune.privacy.retention import RetentionRules, span_ms
from opportune.privacy.sealing import GONE_SLOT, Erased, slot_of
from opportune.warehouse.reports import Reports

ITEMS = [{"item_id": f"p{n}", "name": f"Product {n}", "category": "c"} for n in range(8)]
FEATURES = """
features:
- {name: views, fold: count, event: product_viewed, windows: [7d, all]}
- {name: pace, fold: count, entity: session}
"""
EXPERIMENTS = "experiments: [{id: hero, placements: [home_recs], arms: [{id: a}, {id: b}]}]"
RULES = """
retention:
  events: {product_viewed: 30d, "*": 400d}
  traits: {city: 60d}
  decisions: 20d
  dead_letters: 10d
"""


def opened(folder: Path, clock: FixedClock, rules: str = RULES, **more: str) -> Engine:
    workspace = folder / "ws"
    workspace.mkdir(exist_ok=True)
    for name, text in {"privacy": rules, "features": FEATURES, "experiments": EXPERIMENTS, **more}.items():
        (workspace / f"{name}.yaml").write_text(text)
    return Engine.open(folder / "data", workspace=workspace, clock=clock)


def run(engine: Engine) -> Retired:
    retiring = engine.retiring()
    retiring.look()
    return retiring.carry_out()


def rebuilt(folder: Path, clock: FixedClock, **more: str) -> dict[str, bytes]:
    shutil.rmtree(folder / "data" / "state")
    with opened(folder, clock, **more) as engine:
        return people(engine)


def viewed(who: dict[str, str], clock: FixedClock, n: int = 1, **more: Any) -> dict[str, Any]:
    clock.advance(1_000)
    return {
        "type": "track", "event": "Product Viewed", **who, "messageId": f"v{clock()}", "timestamp": clock(),
        "properties": {"product_id": f"p{n}"}, **more,
    }  # fmt: skip


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def test_what_is_old_goes_and_what_is_not_stays(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        engine.ingest([viewed({"userId": "u1"}, clock, n) for n in range(3)])
        said = {"type": "identify", "userId": "u1", "traits": {"city": "Bern", "plan": "gold"}}
        engine.ingest([said | {"messageId": "i1"}])
        engine.ingest([{"type": "track", "userId": "u1", "wrong": True}])
        decision = engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}}).decisions[0]
        clock.advance(70 * DAY)
        engine.ingest([viewed({"userId": "u1"}, clock, 5)])

        dry = engine.retiring(dry_run=True).look()
        assert (dry.dry_run, dry.events, dry.traits) == (True, {"product_viewed": 3}, {"city": 1})
        assert engine.profile("user_id:u1")["features"]["views_all"] == 4, "looking changes nothing"

        found = run(engine)
        assert (found.events, found.traits, found.decisions, found.dead_letters, found.people) == (
            {"product_viewed": 3}, {"city": 1}, 1, 1, 1,
        )  # fmt: skip
        assert found.keys == 1, "the dead letter's own"
        known = engine.profile("user_id:u1")
        assert (known["features"]["views_all"], [t["item_id"] for t in known["recent"]]) == (1, ["p5"])
        assert {name: t["value"] for name, t in known["traits"].items()} == {"plan": "gold"}
        assert known["exposures"] == []
        assert engine.dead_letters()["summary"]["open"] == 0
        with pytest.raises(NotFound, match="no such decision"):
            engine.decision(decision.decision_id)
        entries = [engine.entries.decode(data) for _, data in engine.journal.scan()]
        assert sum(isinstance(e, Erased) for e in entries) == 3 + 1 + 1
        assert [e.traits for e in entries if isinstance(e, Event) and e.name == "identify"] == [
            {"plan": "gold"}
        ]
        again = run(engine)
        assert (again.events, again.traits, again.decisions, again.keys) == ({}, {}, 0, 0)
        after = people(engine)
    assert rebuilt(tmp_path, clock) == after


def test_who_is_who_and_what_was_allowed_outlive_their_events(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, 'retention: {events: {"*": 30d}}') as engine:
        engine.ingest([viewed({"userId": "u1", "anonymousId": "a1"}, clock) for _ in range(3)])
        refusal = {"consent": {"categoryPreferences": {"personalization": False, "analytics": True}}}
        engine.ingest([viewed({"anonymousId": "a1"}, clock, context=refusal)])
        clock.advance(90 * DAY)
        found = run(engine)
        assert (found.events, found.kept_as_evidence) == ({"product_viewed": 4}, 2)
        assert set(engine.component("anonymous_id:a1").identifiers) == {"user_id:u1", "anonymous_id:a1"}
        assert not engine.profile("user_id:u1")["consent"]["uses"]["personalize"]
        assert engine.profile("user_id:u1")["events"] == {}
        assert run(engine).events == {}
        after = people(engine)
    assert rebuilt(tmp_path, clock, privacy='retention: {events: {"*": 30d}}') == after


def test_a_key_goes_with_the_last_thing_that_it_sealed(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        engine.ingest([viewed({"userId": "u1"}, clock)])
        slot = engine.state.leaf("user_id:u1").slot
        clock.advance(90 * DAY)
        assert run(engine).keys == 1
        assert engine.entries.vault is not None
        assert engine.entries.vault.key(slot) is None
        with pytest.raises(NotFound):
            engine.profile("user_id:u1")
        engine.ingest([viewed({"userId": "u1"}, clock)])
        assert engine.state.leaf("user_id:u1").slot != slot
        after = people(engine)
    assert rebuilt(tmp_path, clock) == after
    with opened(tmp_path, clock) as again:
        assert again.ingest([viewed({"userId": "u2"}, clock)]).stored == 1
        assert again.state.leaf("user_id:u2").slot == slot + 2, (
            "what went says nothing of which keys are used"
        )


def test_what_comes_between_the_look_and_the_deed_is_kept(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        engine.ingest([viewed({"userId": "u1"}, clock)])
        clock.advance(90 * DAY)
        retiring = engine.retiring()
        retiring.look()
        engine.ingest([viewed({"userId": "u1"}, clock, 4)])
        retiring.carry_out()
        assert engine.profile("user_id:u1")["features"]["views_all"] == 1
        after = people(engine)
    assert rebuilt(tmp_path, clock) == after


STEPS: dict[str, str] = {
    "checkpoint": "opportune.engine.checkpoints.Checkpoints.turns",
    "journal": "opportune.stores.journal.Journal.rewrite",
    "keys": "opportune.stores.vault.Vault.destroy",
}


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("step", STEPS)
def test_the_next_run_finishes_what_a_crash_left(tmp_path: Path, clock: FixedClock, step: str) -> None:
    engine = opened(tmp_path, clock)
    engine.ingest([viewed({"userId": f"u{n}"}, clock) for n in range(3)])
    clock.advance(90 * DAY)
    engine.ingest([viewed({"userId": "u1"}, clock, 4)])
    engine.checkpoint()

    def power_cut(*_: object, **__: object) -> None:
        raise PowerCutError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(STEPS[step], power_cut)
        with pytest.raises(PowerCutError):
            run(engine)
    engine.abandon()
    with opened(tmp_path, clock) as again:
        run(again)
        assert again.profile("user_id:u1")["features"]["views_all"] == 1
        with pytest.raises(NotFound):
            again.profile("user_id:u2")
        after = people(again)
    assert rebuilt(tmp_path, clock) == after


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sealed", ["true", "false"])
def test_random_lives(tmp_path: Path, clock: FixedClock, seed: int, sealed: str) -> None:
    """State after retention is what a rebuild gives, whatever people did; twice in a row."""
    rules = f"seal_journal: {sealed}\n{RULES}"
    chance = random.Random(seed)
    with opened(tmp_path, clock, rules) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        for _ in range(2):
            for n in range(120):
                clock.advance(chance.randrange(DAY))
                engine.ingest([_something(chance, clock, n)])
                if not n % 7:
                    who = {"anonymous_id": f"a{chance.randrange(4)}"}
                    engine.decide({"placement": "home_recs", "identifiers": who})
                if not n % 31:
                    engine.checkpoint()
            found = run(engine)
            assert sum(found.events.values()) > 10
            assert found.decisions > 3
            assert not [s for s in engine.retiring(dry_run=True).look().events if s != "product_viewed"]
        after = people(engine)
        assert engine.accounting()["balanced"]
    assert rebuilt(tmp_path, clock, privacy=rules) == after


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sealed", ["true", "false"])
def test_life_goes_on_between_the_turns(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, seed: int, sealed: str
) -> None:
    """A leaf a turn, and between any two of them people come, are answered, and checkpoints are written."""
    monkeypatch.setattr("opportune.engine.retiring.TURN_S", 0.0)
    rules = f"seal_journal: {sealed}\n{RULES}"
    chance = random.Random(seed)

    def live(engine: Engine, n: int) -> None:
        engine.ingest([_something(chance, clock, n)])
        if not n % 3:
            who = {"anonymous_id": f"a{chance.randrange(4)}"}
            engine.decide({"placement": "home_recs", "identifiers": who})

    with opened(tmp_path, clock, rules) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        for n in range(160):
            clock.advance(chance.randrange(DAY))
            live(engine, n)
        retiring = engine.retiring()
        retiring.look()
        turns = 0
        for elsewhere in retiring.turns():
            turns += 1
            clock.advance(1)
            if chance.random() < 0.6:
                live(engine, 1_000 + turns)
            if chance.random() < 0.1:
                engine.checkpoint()
            if elsewhere is not None:
                elsewhere()
                live(engine, 2_000 + turns)
        assert turns > 10
        assert sum(retiring.report.events.values()) > 3
        after = people(engine)
        assert engine.accounting()["balanced"]
        for _, data in engine.journal.scan():
            entry = engine.entries.decode(data)
            assert not isinstance(entry, Erased) or slot_of(data) == GONE_SLOT, "no key went too early"
    assert rebuilt(tmp_path, clock, privacy=rules) == after


def _something(chance: random.Random, clock: FixedClock, n: int) -> dict[str, Any]:
    who = {"anonymousId": f"a{chance.randrange(4)}"}
    if chance.random() < 0.3:
        who["userId"] = f"u{chance.randrange(2)}"
    doing: list[Callable[[], dict[str, Any]]] = [
        lambda: viewed(who, clock, chance.randrange(8), context={"sessionId": f"s{chance.randrange(3)}"}),
        lambda: viewed(
            who, clock, context={"consent": {"categoryPreferences": {"x": chance.random() < 0.5}}}
        ),
        lambda: {
            "type": "identify",
            **who,
            "messageId": f"i{clock()}-{n}",
            "traits": {"city": f"c{n}", "n": n},
        },
        lambda: {"type": "track", **who, "event": "odd thing", "messageId": f"o{clock()}-{n}"},
        lambda: {"type": "track", **who, "wrong": n},
    ]
    return chance.choice(doing)()


def test_derived_tables_lose_the_rows(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        reports = Reports.of(engine, tmp_path / "data")
        engine.ingest([viewed({"userId": f"u{n}"}, clock) for n in range(3)])
        engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}})
        clock.advance(90 * DAY)
        engine.ingest([viewed({"userId": "u1"}, clock)])
        reports.catch_up()
        assert run(engine).derived_rows == 3 + 1
        assert reports.tables.connection.execute("select count(*) from events").fetchone() == (1,)
        reports.close()


def test_erasure_reaches_what_retention_left(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        engine.ingest([viewed({"userId": "ada-lovelace", "anonymousId": "browser-of-ada"}, clock)])
        clock.advance(90 * DAY)
        assert run(engine).kept_as_evidence == 1
        receipt = engine.erase("anonymous_id:browser-of-ada")
        assert receipt.scan is not None
        assert (receipt.removed.identifiers, receipt.scan.found) == (2, 0)


def test_the_days_run_is_due_once(tmp_path: Path, clock: FixedClock) -> None:
    clock.advance(5 * HOUR - clock() % DAY)  # 05:00
    with opened(tmp_path, clock, "retention: {decisions: 1d, hour: 4}") as engine:
        desk = engine.retention
        assert desk.state()["state"] == "NEVER"
        assert desk.due()
        retiring = desk.begin()
        with pytest.raises(Overloaded, match="retention is under way"):
            desk.begin()
        assert (desk.state()["state"], desk.due()) == ("RUNNING", False)
        at_once(desk.turns(retiring))
        assert (desk.state()["state"], desk.due()) == ("FINISHED", False)
        clock.advance(22 * HOUR)
        assert not desk.due()
        clock.advance(HOUR)
        assert desk.due()
    with opened(tmp_path, clock, "seal_journal: true") as engine:
        assert not engine.retention.due(), "no rules"


def test_rules_are_checked() -> None:
    assert span_ms("12h") == DAY // 2
    assert not RetentionRules()
    assert RetentionRules(decisions="1d")
