"""Rectification, restriction, objection, suppression: events of the journal, so that a rebuild knows them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_consent import A, U, told, viewed

from opportune import Engine
from opportune.clock import FixedClock
from opportune.decide.request import Decision
from opportune.engine import keys
from opportune.engine.dump import fingerprint
from opportune.engine.history import read_trainable
from opportune.engine.workspace import load_workspace
from opportune.errors import InvalidRequest, NotFound
from opportune.events.event import Event
from opportune.events.rights import Right
from opportune.profiles.consent.policy import Use
from opportune.stores.disk import RealDisk

ITEMS = [{"item_id": f"p{n}", "name": f"Product {n}", "category": "c"} for n in range(8)]
BOTH = U | A


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def engine(folder: Path, clock: FixedClock) -> Iterator[Engine]:
    with Engine.open(folder, clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        engine.ingest([viewed(1, BOTH, clock), is_from("Bern", BOTH, clock)])
        yield engine


def is_from(city: str, who: dict[str, str], clock: FixedClock) -> dict[str, Any]:
    clock.advance(1_000)
    return {"type": "identify", **who, "traits": {"city": city}, "messageId": f"i{clock()}"}


def do(engine: Engine, clock: FixedClock, right: Right, who: str = "user_id:u1", **about: Any) -> None:
    clock.advance(1_000)
    engine.commit(engine.rights.exercise(right, who, who="user:officer", **about))


def city(engine: Engine, who: str = "user_id:u1") -> Any:
    found = engine.profile(who)["traits"].get("city")
    return None if found is None else found["value"]


def consent(engine: Engine) -> str:
    decision = engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u1"}}).decisions[0]
    return str(decision.consent)


def test_what_was_put_right_stands_whatever_is_said_later(engine: Engine, clock: FixedClock) -> None:
    do(engine, clock, "rectify", trait="city", value="Basel", why="letter of 3 May")
    assert city(engine) == "Basel"
    engine.ingest([is_from("Bern", BOTH, clock)])
    assert city(engine) == "Basel"
    [one] = engine.rights.of("anonymous_id:a1")["rectified"].items()
    assert (one[0], one[1]["value"], one[1]["who"], one[1]["why"]) == (
        "city", "Basel", "user:officer", "letter of 3 May",
    )  # fmt: skip
    do(engine, clock, "rectify", trait="city", value=None)
    assert city(engine) is None
    do(engine, clock, "withdraw", "anonymous_id:a1", trait="city")
    assert city(engine) == "Bern"
    assert engine.profile("user_id:u1")["events"] == {"identify": 2, "product_viewed": 1}


def test_a_correction_goes_with_the_identifier_it_was_made_for(engine: Engine, clock: FixedClock) -> None:
    do(engine, clock, "rectify", "anonymous_id:a1", trait="city", value="Basel")
    assert city(engine) == "Basel"
    clock.advance(1)
    engine.commit(engine.relink("user_id:u1", "anonymous_id:a1", "unmerge", who="user:officer"))
    assert (city(engine), city(engine, "anonymous_id:a1")) == ("Bern", "Basel")


def test_under_a_restriction_what_comes_is_kept_and_nothing_is_done_with_it(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    assert consent(engine) == "personal"
    do(engine, clock, "restrict", "anonymous_id:a1", why="disputes the address")
    assert consent(engine) == "contextual"
    log = len(engine.state.models.log)
    assert engine.state.records.get(keys.ITEM + "p1").offset > 0, "what came before the restriction counts"
    assert engine.ingest([viewed(2, U, clock)]).stored == 1
    entry = engine.entries.decode(engine.journal.read(engine.journal.next_seq - 2))
    assert isinstance(entry, Event)
    assert entry.withheld == Use.ALL & ~Use.COLLECT
    assert len(engine.state.models.log) == log, "no model learns from it"
    assert engine.state.records.get(keys.ITEM + "p2").offset < 0, "no item's numbers count it"
    assert engine.profile("user_id:u1")["events"]["product_viewed"] == 2, "it is kept"
    standing = engine.profile("user_id:u1")["consent"]
    assert (standing["restricted"], standing["uses"]["collect"], standing["uses"]["train"]) == (
        True, True, False,
    )  # fmt: skip
    engine.settle()
    workspace = load_workspace(None)
    engine.checkpoint()
    disk = RealDisk(folder, read_only=True)
    assert not [e for _, e in read_trainable(disk, workspace) if isinstance(e, Event) and e.identifiers]
    do(engine, clock, "lift")
    assert consent(engine) == "personal"
    kept = [e for _, e in read_trainable(disk, workspace) if isinstance(e, Event) and e.identifiers]
    assert [e.name for e in kept if not e.withheld] == ["product_viewed", "identify"]
    with pytest.raises(InvalidRequest, match="there is nothing to take back"):
        do(engine, clock, "lift")


def test_a_restriction_holds_within_the_batch_that_it_came_in(engine: Engine, clock: FixedClock) -> None:
    clock.advance(1)
    noted = {
        "type": "track", "event": "processing_restricted", **U, "messageId": "r1", "timestamp": clock(),
    }  # fmt: skip
    engine.ingest([noted, viewed(3, A, clock)])
    assert engine.rights.of("user_id:u1")["restricted"]
    last = engine.entries.decode(engine.journal.read(engine.journal.next_seq - 2))
    assert isinstance(last, Event)
    assert last.withheld & Use.TRAIN


def test_an_objection_is_against_a_use_whatever_was_consented_to(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([told(U, clock, personalization=True, analytics=True)])
    do(engine, clock, "object", uses=["personalize"])
    engine.ingest([told(U, clock, personalization=True, analytics=True)])
    assert consent(engine) == "contextual"
    assert engine.rights.of("anonymous_id:a1")["objections"] == ["personalize"]
    do(engine, clock, "withdraw", "anonymous_id:a1", uses=["personalize"])
    assert consent(engine) == "personal"


def test_what_may_not_be_measured_is_no_decisions_outcome(engine: Engine, clock: FixedClock) -> None:
    asked = {"placement": "home_recs", "identifiers": {"anonymous_id": "a1"}}
    before, after = (engine.decide(asked).decisions[0] for _ in range(2))

    def click(n: int, decision: Decision) -> dict[str, Any]:
        shown = {"product_id": decision.items[0].item_id, "decision_id": decision.decision_id}
        return {**viewed(n, A, clock), "event": "Product Clicked", "properties": shown}

    engine.ingest([click(5, before)])
    do(engine, clock, "object", uses=["measure"])
    engine.ingest([click(6, after)])
    kinds = [
        [outcome["kind"] for outcome in engine.decision(d.decision_id)["outcomes"]] for d in (before, after)
    ]
    assert kinds == [["view"], []]


@pytest.mark.parametrize("category", ["!restriction", "!train"])
def test_a_consent_category_cannot_take_a_right_back(
    engine: Engine, clock: FixedClock, category: str
) -> None:
    do(engine, clock, "restrict")
    do(engine, clock, "object", uses=["train"])
    clock.advance(1)
    receipt = engine.ingest([told(U, clock, **{category: True})])
    assert receipt.verdicts[0].warnings == [
        f"$.context: no consent category may begin with '!', saw '{category}'"
    ]
    flood = {f"{n:04d}": True for n in range(60)}
    for batch in range(4):
        clock.advance(1)
        engine.ingest([told(U, clock, **{f"{batch}{name}": yes for name, yes in flood.items()})])
    found = engine.rights.of("user_id:u1")
    assert (found["restricted"], found["objections"]) == (True, ["train"])


def test_a_pages_key_says_nothing_of_rights(engine: Engine, clock: FixedClock) -> None:
    event = {"type": "track", "event": "restriction_lifted", **U, "messageId": "x1"}
    admission = engine.admit(
        [event], kind=None, dialect="segment", source="web", received=clock(), is_public=True
    )
    assert admission.verdicts[0].reason == (
        "only the secret key says what a person's rights are, saw 'restriction_lifted'"
    )


@pytest.mark.parametrize(
    ("right", "about", "message"),
    [
        ("rectify", {}, "a correction names the trait"),
        ("rectify", {"trait": "x", "value": "y" * 2_000}, "the value has more than 1000 bytes"),
        ("object", {"uses": ["collect"]}, "an objection names the uses that it is against"),
        ("object", {}, "an objection names the uses that it is against"),
        ("withdraw", {"uses": ["train"]}, "there is nothing to take back"),
        ("withdraw", {"trait": "city"}, "there is nothing to take back"),
    ],
)
def test_what_cannot_be_meant(
    engine: Engine, clock: FixedClock, right: Right, about: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        do(engine, clock, right, **about)
    with pytest.raises(NotFound, match="nobody is known by this identifier"):
        do(engine, clock, "restrict", "user_id:never-seen")


def test_a_rebuild_knows_everything(engine: Engine, folder: Path, clock: FixedClock) -> None:
    do(engine, clock, "rectify", trait="city", value=["a", {"b": 1}])
    do(engine, clock, "object", "anonymous_id:a1", uses=["train", "share"])
    do(engine, clock, "restrict")
    engine.ingest([viewed(4, A, clock)])
    engine.checkpoint()
    do(engine, clock, "lift")
    expected, found = fingerprint(engine.state), engine.rights.of("user_id:u1")
    assert found["objections"] == ["train", "share"]
    engine.close()
    with Engine.open(folder, clock=clock) as again:
        assert (fingerprint(again.state), again.rights.of("user_id:u1")) == (expected, found)
    shutil.rmtree(folder / "state")
    with Engine.open(folder, clock=clock) as rebuilt:
        assert (fingerprint(rebuilt.state), rebuilt.rights.of("user_id:u1")) == (expected, found)
        assert rebuilt.accounting()["balanced"]


def test_kept_out_without_being_erased_and_let_in_again(
    engine: Engine, folder: Path, clock: FixedClock
) -> None:
    engine.rights.suppress(["user_id:u1"])
    clock.advance(1_000)
    assert engine.ingest([viewed(5, A, clock), viewed(6, U, clock)]).suppressed == 2
    assert engine.profile("user_id:u1")["events"]["product_viewed"] == 1, "what is known stays"
    assert consent(engine) == "contextual"
    engine.close()
    with Engine.open(folder, clock=clock) as again:
        assert again.ingest([viewed(5, A, clock)]).suppressed == 1
        again.rights.suppress(["anonymous_id:a1"], lift=True)
        assert again.ingest([viewed(5, A, clock), viewed(6, U, clock)]).stored == 2
        assert consent(again) == "personal"


def test_who_was_erased_and_is_kept_out_gets_no_record(engine: Engine, clock: FixedClock) -> None:
    engine.erase("user_id:u1", suppress=True)
    clock.advance(1_000)
    assert consent(engine) == "contextual"
    with pytest.raises(NotFound):
        engine.profile("user_id:u1")
    engine.rights.suppress(["user_id:u1"], lift=True)
    clock.advance(1_000)
    assert engine.ingest([viewed(5, A, clock)]).stored == 1, "kept out together, let in together"
