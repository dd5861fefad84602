"""Probable links in decisions: as far as each use says, and not a step further."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.test_groups import bought

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.alike import people
from opportune.errors import InvalidDefinition
from opportune.identity.likely import Proposal, stamp_of
from opportune.stores.likely import PROPOSALS, LikelyStore

FEATURES = "features: [{name: spent, fold: sum, event: order_completed, value: value}]"
PLACEMENT = """
placements:
  - name: home_recs
    count: 3
    sources: [{source: popular}]
    features: [spent]
    likely: DIAL
    budget_ms: {total: 60000, candidates: 60000, rank: 60000, policy: 60000, content: 60000}
    rules: [{pin: i9, rank: 3, segment: rich}]
"""
SEGMENTS = "segments: [{name: rich, when: {spent: {gte: 100}}, likely: DIAL}]"
STEPS = [
    {"column": "", "level": "two people at random", "bits": -8.0, "sum": -8.0},
    {"column": "name", "left": "Ada", "right": "Ada", "level": "exact", "bits": 14.0, "sum": 6.0},
    {"column": "city", "left": "hull", "right": "", "level": "no value", "bits": 0.0, "sum": 6.0},
]


class Turned:
    """A ranker that turns the list around for who spent much."""

    name = "turned"

    def score(self, items: Any, blended: Any, query: Any, features: Any, said: Any, sources: Any) -> Any:
        return blended[::-1].copy() if (features.get("spent") or 0) >= 100 else np.asarray(blended)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def opened(
    folder: Path, clock: FixedClock, placement: float = 0.9, segment: float = 1.0, **files: str
) -> Engine:
    (folder / "ws").mkdir(exist_ok=True)
    written = {
        "features": FEATURES,
        "placements": PLACEMENT.replace("DIAL", str(placement)),
        "segments": SEGMENTS.replace("DIAL", str(segment)),
    }
    for name, text in {**written, **files}.items():
        (folder / "ws" / f"{name}.yaml").write_text(text)
    engine = Engine.open(folder / "data", workspace=folder / "ws", clock=clock)
    engine._world.ranker = Turned()
    return engine


def begun(engine: Engine, clock: FixedClock, probability: float = 0.97) -> None:
    """Ada, who spent much under her login, and a newsletter address that is probably hers."""
    shelf = [{"item_id": f"i{n}", "name": f"Item {n}", "category": "C"} for n in range(10)]
    engine.ingest(shelf, dialect="catalog")
    for n in range(4):
        for m in range(n + 1):
            seen = {
                "type": "track",
                "event": "Product Viewed",
                "userId": f"x{n}-{m}",
                "messageId": f"v{n}{m}",
            }
            engine.ingest(seen | {"properties": {"product_id": f"i{n}"}})
    engine.ingest(
        [
            bought("ada", 120, clock),
            {
                "type": "identify", "userId": "ada", "messageId": "t1",
                "traits": {"name": "Ada", "city": "Hull"},
            },
            {
                "type": "identify", "anonymousId": "a1", "messageId": "t2",
                "traits": {"name": "Ada", "country": "UK"},
            },
        ]
    )  # fmt: skip
    propose(engine, probability)


def propose(engine: Engine, probability: float) -> None:
    row = dict(people(engine.state))
    assert engine.data_dir is not None
    one = Proposal(
        "user_id:ada", "anonymous_id:a1", 6.0, probability, STEPS,
        stamp_of(row["user_id:ada"]), stamp_of(row["anonymous_id:a1"]),
    )  # fmt: skip
    LikelyStore(engine.data_dir).save(PROPOSALS, [one])


def ask(engine: Engine, **who: str) -> Any:
    identifiers = who or {"anonymous_id": "a1"}
    asked = {"placement": "home_recs", "identifiers": identifiers, "explain": True}
    [decision] = engine.decide(asked).decisions
    return decision


def shown(engine: Engine, **who: str) -> list[str]:
    return [item.item_id for item in ask(engine, **who).items]


CERTAIN = ["i3", "i2", "i1"]
TURNED = ["i0", "i1", "i2"]


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Iterator[Engine]:
    with opened(tmp_path, clock) as engine:
        begun(engine, clock)
        yield engine


def test_what_is_known_of_the_probable_person_ranks_and_the_record_says_so(engine: Engine) -> None:
    decision = ask(engine)
    assert [item.item_id for item in decision.items] == TURNED
    assert decision.explanation["likely"] == {
        "said": "probably the same person as somebody else, p = 0.97",
        "probability": 0.97,
        "evidence": [{"column": "name", "level": "exact", "bits": 14.0}],
    }
    record = engine.record(decision.decision_id)
    assert record.features["spent"] == 0.0, "what is on record of a person is their own"
    assert "ada" not in str(record).lower().replace("anonymous_id:a1", ""), "the record names nobody else"
    assert engine.decision(decision.decision_id)["explanation"]["likely"]["probability"] == 0.97
    assert shown(engine, user_id="ada")[:2] != CERTAIN[:2], "who spent it herself"
    assert ask(engine, user_id="x0-0").explanation["likely"] is None


def test_nothing_is_joined(engine: Engine) -> None:
    ask(engine)
    assert engine.component("anonymous_id:a1").identifiers == ("anonymous_id:a1",)
    assert engine.profile("anonymous_id:a1")["features"]["spent"] == 0.0
    assert engine.profile("user_id:ada")["exposures"] == []


def test_the_dial(tmp_path: Path, clock: FixedClock) -> None:
    for n, (dial, probability, expected) in enumerate(
        [
            (0.9, 0.97, TURNED), (0.97, 0.97, TURNED), (0.971, 0.97, CERTAIN), (0.9, 0.89, CERTAIN),
            (1.0, 1.0, CERTAIN),
        ]
    ):  # fmt: skip
        (tmp_path / str(n)).mkdir()
        with opened(tmp_path / str(n), clock, dial) as engine:
            begun(engine, clock, probability)
            assert shown(engine) == expected, (dial, probability)


def test_at_one_all_is_as_without_the_model(tmp_path: Path, clock: FixedClock) -> None:
    answers = []
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        with opened(tmp_path / str(n), FixedClock(clock()), 1.0) as engine:
            begun(engine, FixedClock(clock()), 0.999999)
            if n:
                assert engine.data_dir is not None
                LikelyStore(engine.data_dir).forget()
            assert engine.kin is None
            decision = ask(engine)
            record = engine.record(decision.decision_id)
            answers.append((shown(engine), record.features, record.scores, record.likely, record.candidates))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("action", ["reject", "merge and unmerge"])
def test_what_somebody_says_by_hand_ends_it_at_the_next_decision(
    engine: Engine, clock: FixedClock, action: str
) -> None:
    assert shown(engine) == TURNED
    clock.advance(1_000)
    if action == "reject":
        engine.commit(engine.relink("anonymous_id:a1", "user_id:ada", "reject", who="user:eve"))
    else:
        engine.commit(engine.relink("anonymous_id:a1", "user_id:ada", "merge", who="user:eve"))
        assert ask(engine).explanation["likely"] is None, "certain now"
        clock.advance(1_000)
        engine.commit(engine.relink("anonymous_id:a1", "user_id:ada", "unmerge", who="user:eve"))
    decision = ask(engine)
    assert [item.item_id for item in decision.items] == CERTAIN
    assert decision.explanation["likely"] is None


def test_a_link_that_a_guard_refuses_is_no_evidence(engine: Engine, clock: FixedClock) -> None:
    """Two logins on one browser are two people: that they look alike does not help."""
    for user in ("ada", "eve"):
        clock.advance(1_000)
        engine.ingest({"type": "identify", "userId": user, "anonymousId": "shared", "messageId": f"s{user}"})
    row = dict(people(engine.state)) | {"user_id:eve": {"name": "Ada", "city": "Hull"}}
    engine.ingest({"type": "identify", "userId": "eve", "messageId": "e", "traits": row["user_id:eve"]})
    row = dict(people(engine.state))
    assert engine.data_dir is not None
    stamps = stamp_of(row["user_id:ada"]), stamp_of(row["user_id:eve"])
    one = Proposal("user_id:ada", "user_id:eve", 6.0, 0.99, STEPS, *stamps)
    LikelyStore(engine.data_dir).save(PROPOSALS, [one])
    clock.advance(1_000)
    assert ask(engine, user_id="eve").explanation["likely"] is None


def test_other_evidence_than_was_compared_ends_it(engine: Engine, clock: FixedClock) -> None:
    assert shown(engine) == TURNED
    engine.ingest({"type": "identify", "userId": "ada", "messageId": "n", "traits": {"name": "Grace"}})
    assert shown(engine) == CERTAIN
    propose(engine, 0.95)
    clock.advance(1_000)
    assert shown(engine) == TURNED, "until it is proposed again"


@pytest.mark.parametrize("who", ["user_id:ada", "anonymous_id:a1"])
def test_erasing_either_ends_it(engine: Engine, who: str) -> None:
    assert shown(engine) == TURNED
    before = ask(engine).decision_id
    engine.erase(who)
    decision = ask(engine)
    assert [item.item_id for item in decision.items] == CERTAIN
    assert decision.explanation["likely"] is None
    assert engine.data_dir is not None
    assert LikelyStore(engine.data_dir).version(PROPOSALS) is None
    if who == "user_id:ada":
        assert "ada" not in str(engine.record(before)), "no record of another names who was erased"


@pytest.mark.parametrize("who", [{"userId": "ada"}, {"anonymousId": "a1"}])
def test_both_must_allow_it(engine: Engine, clock: FixedClock, who: dict[str, str]) -> None:
    assert shown(engine) == TURNED
    clock.advance(1_000)
    no = {"consent": {"categoryPreferences": {"personalization": False}}}
    engine.ingest({"type": "track", "event": "Consent Updated", **who, "messageId": "c", "context": no})
    decision = ask(engine)
    assert [item.item_id for item in decision.items] == CERTAIN
    assert decision.explanation["likely"] is None
    assert decision.consent == ("contextual" if "anonymousId" in who else "personal")


@pytest.mark.parametrize(("dial", "rich"), [(1.0, []), (0.98, []), (0.95, ["rich"])])
def test_an_audience_has_a_dial_of_its_own(
    tmp_path: Path, clock: FixedClock, dial: float, rich: list[str]
) -> None:
    with opened(tmp_path, clock, placement=1.0, segment=dial) as engine:
        begun(engine, clock)
        decision = ask(engine)
        assert ("i9" in [item.item_id for item in decision.items]) is bool(rich)
        assert engine.profile("anonymous_id:a1")["segments"] == rich
        assert engine.profile("user_id:ada")["segments"] == ["rich"]
        assert (decision.explanation["likely"] is not None) is bool(rich)


def test_an_arm_may_turn_the_dial(tmp_path: Path, clock: FixedClock) -> None:
    trial = """
experiments:
  - id: t
    placements: [home_recs]
    arms: [{id: certain, weight: 0}, {id: probable, weight: 1, change: {likely: 0.9}}]
"""
    with opened(tmp_path, clock, placement=1.0, experiments=trial) as engine:
        begun(engine, clock)
        assert shown(engine) == TURNED


@pytest.mark.parametrize("dial", [0.5, 0, 1.1])
def test_less_likely_than_not_is_no_link(tmp_path: Path, clock: FixedClock, dial: float) -> None:
    with pytest.raises(InvalidDefinition, match=r"placements.yaml \$.placements\[0\].likely"):
        opened(tmp_path, clock, dial)


def test_pairs_without_a_stamp_are_for_people_to_decide(engine: Engine, clock: FixedClock) -> None:
    assert engine.data_dir is not None
    old = Proposal("user_id:ada", "anonymous_id:a1", 6.0, 0.99, STEPS)
    LikelyStore(engine.data_dir).save(PROPOSALS, [old])
    clock.advance(1_000)
    assert shown(engine) == CERTAIN


def test_a_decision_is_made_again_without_what_was_known_of_another(engine: Engine) -> None:
    from opportune.decide.replay import replay

    record = engine.record(ask(engine).decision_id)
    assert replay(engine._world, record) == CERTAIN


def test_from_training_to_a_decision(tmp_path: Path, clock: FixedClock) -> None:
    """The whole way: traits, weights without labels, proposals, a decision that says how sure it is."""
    pytest.importorskip("rapidfuzz", reason="match weights need the extra identity")
    from tests.identity.matching.test_proposals import shoppers

    from opportune.identity.matching.proposals import comparable
    from opportune.identity.matching.proposals import propose as find
    from opportune.identity.matching.records import Records
    from opportune.identity.matching.training import train

    with opened(tmp_path, clock, placement=0.95) as engine:
        begun(engine, clock)
        for n, (name, traits) in enumerate(shoppers()):
            kind, _, value = name.partition(":")
            named = {"userId": value} if kind == "user_id" else {"anonymousId": value}
            engine.ingest({"type": "identify", **named, "messageId": f"p{n}", "traits": traits})
        engine.ingest([bought("u010", 300, clock)])
        known = list(people(engine.state))
        rows = [row for _, row in known]
        found = find(train(Records.of(comparable(rows), rows), seed=1), known, lowest=0.95)
        assert engine.data_dir is not None
        LikelyStore(engine.data_dir).save(PROPOSALS, found)
        clock.advance(1_000)
        decision = ask(engine, anonymous_id="a010")
        assert [item.item_id for item in decision.items] == TURNED
        likely = decision.explanation["likely"]
        assert likely["probability"] > 0.95
        assert {"birthday", "postcode"} <= {step["column"] for step in likely["evidence"] if step["bits"] > 0}
        assert shown(engine, anonymous_id="a020") == CERTAIN, "that one has not spent anything"


def test_the_person_is_told_too(engine: Engine) -> None:
    from opportune.access.audit import Unaudited
    from opportune.console.preferences import Preferences
    from opportune.server.preference_links import PreferenceLinks

    ask(engine)
    page = Preferences(engine, PreferenceLinks("sk", engine.clock), Unaudited()).told("anonymous_id:a1")
    assert page["seen"]
    assert all(one["why"].endswith("what somebody did who is probably you") for one in page["seen"])
    ask(engine, user_id="x0-0")
    page = Preferences(engine, PreferenceLinks("sk", engine.clock), Unaudited()).told("user_id:x0-0")
    assert not any("probably you" in one["why"] for one in page["seen"])


def test_an_erasure_that_a_crash_cuts_short_leaves_no_proposals(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*about: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opportune.stores.vault.Vault.record", power_cut)
    with pytest.raises(KeyboardInterrupt):
        engine.erase("user_id:ada")
    assert engine.data_dir is not None
    assert LikelyStore(engine.data_dir).version(PROPOSALS) is None
    monkeypatch.undo()
