"""Consent at the door and at the decision: a withdrawal holds from the next event and decision on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.profiles.consent.policy import Use

ITEMS = [{"item_id": f"p{n}", "name": f"Product {n}", "category": "c"} for n in range(8)]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Any:
    with Engine.open(tmp_path / "data", clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        yield engine


def viewed(n: int, who: dict[str, str], clock: FixedClock, **context: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": "Product Viewed", **who, "messageId": f"v{n}-{sorted(who.values())}",
        "timestamp": clock(), "properties": {"product_id": f"p{n}"}, "context": context,
    }  # fmt: skip


def told(who: dict[str, str], clock: FixedClock, **categories: bool) -> dict[str, Any]:
    return {
        "type": "track", "event": "Segment Consent Preference Updated", **who,
        "messageId": f"c{clock()}-{sorted(who.values())}-{categories}", "timestamp": clock(),
        "context": {"consent": {"categoryPreferences": categories}},
    }  # fmt: skip


A, U = {"anonymousId": "a1"}, {"userId": "u1"}
NOTHING = {"personalization": False, "analytics": False, "advertising": False}


def decide(engine: Engine, **context: Any) -> Any:
    return engine.decide(
        {
            "placement": "home_recs",
            "identifiers": {"anonymous_id": "a1"},
            "context": context,
            "session_id": "s1",
        }
    ).decisions[0]


def test_a_refusal_makes_the_next_decision_contextual_and_it_says_so(
    engine: Engine, clock: FixedClock
) -> None:
    engine.ingest([viewed(1, A, clock)])
    assert decide(engine).consent == "personal"
    engine.ingest([told(A, clock, personalization=False)])
    decision = decide(engine)
    assert decision.consent == "contextual"
    assert len(decision.items) > 0
    record = engine.record(decision.decision_id)
    assert (record.identifiers, record.session_id, record.features) == ((), "", {})
    clock.advance(1)
    engine.ingest([told(A, clock, personalization=True)])
    assert decide(engine).consent == "personal"


def test_a_request_may_say_it_itself(engine: Engine) -> None:
    assert decide(engine, consent={"categoryPreferences": {"personalization": False}}).consent == "contextual"
    assert decide(engine).consent == "personal"


def test_after_a_full_withdrawal_the_next_event_is_not_kept_even_in_one_batch(
    engine: Engine, clock: FixedClock
) -> None:
    receipt = engine.ingest([viewed(1, A, clock), told(A, clock, **NOTHING), viewed(2, A, clock)])
    assert [v.verdict for v in receipt.verdicts] == ["stored", "suppressed", "suppressed"]
    assert (receipt.received, receipt.stored, receipt.suppressed) == (3, 1, 2)
    assert [t["item_id"] for t in engine.profile("anonymous_id:a1")["recent"]] == ["p1"]
    counts = engine.accounting()["sources"]["library"]
    assert (counts["received"], counts["suppressed"]) == (len(ITEMS) + 3, 2)


def test_the_withdrawal_itself_is_kept_as_evidence_without_what_came_with_it(
    engine: Engine, clock: FixedClock
) -> None:
    event = told(A, clock, **NOTHING)
    event["properties"] = {"secret": "never kept"}
    engine.ingest([event])
    consent = engine.profile("anonymous_id:a1")["consent"]
    assert not any(consent["uses"].values())
    assert [(s["category"], s["allowed"], s["message_id"]) for s in consent["said"]] == [
        (category, False, event["messageId"]) for category in sorted(NOTHING)
    ]
    assert "never kept" not in str([engine.journal.read(seq) for seq in range(1, engine.journal.next_seq)])


def test_one_identifier_refuses_and_the_joined_person_has_refused_until_parted(
    engine: Engine, clock: FixedClock
) -> None:
    engine.ingest([told(A, clock, personalization=False), told(U, clock, personalization=True)])
    assert engine.consent.standing(["user_id:u1"]).may(Use.PERSONALIZE)
    engine.ingest([{"type": "track", "event": "identity_linked", **A, **U, "timestamp": clock()}])
    members = engine.component("user_id:u1").identifiers
    assert len(members) == 2
    assert not engine.consent.standing(members).may(Use.PERSONALIZE)
    clock.advance(1)
    engine.ingest([{"type": "track", "event": "identity_unlinked", **A, **U, "timestamp": clock()}])
    assert engine.consent.standing(engine.component("user_id:u1").identifiers).may(Use.PERSONALIZE)


def test_what_another_identifier_of_the_person_refused_holds_for_an_event_that_brings_a_new_one(
    engine: Engine, clock: FixedClock
) -> None:
    engine.ingest([viewed(1, A | U, clock), told(A, clock, **NOTHING)])
    new_device = viewed(2, {"anonymousId": "a2"} | U, clock)
    assert engine.ingest([new_device]).verdicts[0].verdict == "suppressed"


def test_who_refuses_training_is_kept_out_of_the_models(engine: Engine, clock: FixedClock) -> None:
    before = len(engine.state.models.log)
    engine.ingest([told(A, clock, analytics=False), viewed(1, A, clock), viewed(1, U, clock)])
    assert len(engine.state.models.log) == before + 1


@pytest.mark.parametrize("checkpoint", [True, False])
def test_consent_survives_a_restart_from_the_checkpoint_and_from_the_journal(
    tmp_path: Path, clock: FixedClock, checkpoint: bool
) -> None:
    engine = Engine.open(tmp_path, clock=clock)
    engine.ingest([told(A, clock, personalization=False)])
    if checkpoint:
        engine.close()
    else:
        engine.abandon()
    with Engine.open(tmp_path, clock=clock) as engine:
        assert not engine.consent.standing(["anonymous_id:a1"]).may(Use.PERSONALIZE)


def test_unknown_purposes_and_unreadable_signals_are_told(engine: Engine, clock: FixedClock) -> None:
    event = told(A, clock, Astrology=False)
    event["context"]["gdpr_consent"] = "x"
    assert engine.ingest([event]).verdicts[0].warnings == [
        "$.context: the TCF string was not read: a TCF string is base64url",
        "no purpose in consent.yaml goes by 'Astrology': kept as said, decides nothing",
    ]


def test_fail_closed_is_one_setting(tmp_path: Path, clock: FixedClock) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "consent.yaml").write_text("fail_closed: true\n")
    with Engine.open(tmp_path / "data", workspace=workspace, clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        assert engine.ingest([viewed(1, A, clock)]).suppressed == 1
        assert decide(engine).consent == "contextual"
        engine.ingest([told(A, clock, personalization=True)])
        assert engine.ingest([viewed(2, A, clock)]).stored == 1
        assert decide(engine).consent == "personal"
