"""Accounts and households in conditions, and as the units of experiments: sticky for everybody in them."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.engine.test_groups import bought, lives, opened

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.errors import InvalidDefinition

SEGMENTS = """
segments:
  - {name: big_home, when: {household.spent: {gte: 100}}}
  - {name: shared_home, when: {household.people: {gte: 2}}}
  - {name: team, when: {account.spent: {gte: 50}, spent: {lt: 50}}}
"""
PLACEMENTS = """
placements:
  - name: home_recs
    count: 2
    sources: [{source: popular}]
    rules: [{pin: i9, rank: 1, segment: big_home}]
"""
TRIAL = """
experiments:
  - id: x
    unit: household
    placements: [home_recs]
    arms: [{id: a, weight: WEIGHT}, {id: b, weight: REST}]
"""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def home(street: str) -> dict[str, str]:
    return {"postal_code": "8004", "street": street}


def items(engine: Engine) -> None:
    engine.ingest(
        [{"item_id": f"i{n}", "name": f"Item {n}", "category": "C"} for n in range(10)], dialect="catalog"
    )


def segments(engine: Engine, user: str) -> list[str]:
    return list(engine.profile(f"user_id:{user}")["segments"])


def shown(engine: Engine, user: str) -> list[str]:
    [decision] = engine.decide({"placement": "home_recs", "identifiers": {"user_id": user}}).decisions
    return [item.item_id for item in decision.items]


def test_a_segment_asks_what_the_household_spent(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, segments=SEGMENTS, placements=PLACEMENTS) as engine:
        items(engine)
        engine.ingest([lives(user, clock, **home("Gasse 1")) for user in ("u1", "u2")])
        engine.ingest([bought("u1", 60, clock), bought("u2", 30, clock), bought("u3", 500, clock)])
        assert segments(engine, "u1") == ["shared_home"]
        assert shown(engine, "u2")[:1] != ["i9"]
        engine.ingest([bought("u1", 10, clock)])
        assert segments(engine, "u2") == ["big_home", "shared_home"], "60 + 30 + 10"
        assert shown(engine, "u2")[:1] == ["i9"]
        assert segments(engine, "u3") == [], "who is in no household is in none of these, whatever they spent"
        engine.ingest([lives("u1", clock, **home("Gasse 2"))])
        assert segments(engine, "u2") == [], "who moves takes along what is theirs"
        assert segments(engine, "u1") == []
        assert "household" not in engine.profile("user_id:u1")["features"], (
            "that of others is not shown as theirs"
        )


def test_an_account_beside_what_is_ones_own(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, segments=SEGMENTS) as engine:
        engine.ingest([bought("u1", 60, clock, "acme"), bought("u2", 5, clock, "acme")])
        assert segments(engine, "u1") == []
        assert segments(engine, "u2") == ["team"]


def test_who_refuses_is_in_no_sum(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, segments=SEGMENTS) as engine:
        engine.ingest([lives(user, clock, **home("Gasse 1")) for user in ("u1", "u2")])
        engine.ingest([bought("u1", 200, clock)])
        assert "big_home" in segments(engine, "u2")
        clock.advance(1_000)
        no = {"consent": {"categoryPreferences": {"personalize": False, "personalization": False}}}
        engine.ingest(
            {"type": "track", "event": "Consent Updated", "userId": "u1", "context": no, "messageId": "c"}
        )
        assert segments(engine, "u2") == ["shared_home"], "from the next decision on"
        assert not engine.seen(("user_id:u1",), {}, clock()).groups


def test_joined_apart_and_erased(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, segments=SEGMENTS) as engine:
        engine.ingest([lives(user, clock, **home("Gasse 1")) for user in ("u1", "u2")])
        browsing = {"type": "track", "event": "Order Completed", "anonymousId": "a9", "messageId": "a"}
        engine.ingest(browsing | {"properties": {"order_id": "x", "revenue": 150, "products": []}})
        assert segments(engine, "u2") == ["shared_home"]
        clock.advance(1_000)
        engine.commit(engine.relink("user_id:u1", "anonymous_id:a9", "merge", who="user:ada"))
        assert segments(engine, "u2") == ["big_home", "shared_home"]
        clock.advance(1_000)
        engine.commit(engine.relink("user_id:u1", "anonymous_id:a9", "unmerge", who="user:ada"))
        assert segments(engine, "u2") == ["shared_home"]
        engine.erase("user_id:u1")
        assert segments(engine, "u2") == []


def known(engine: Engine, clock: FixedClock) -> list[dict[str, object]]:
    return [engine.seen((f"user_id:u{n}",), {}, clock()).features(clock()) for n in range(5)]


@pytest.mark.parametrize("seed", range(3))
def test_the_sums_are_those_of_a_fresh_look(tmp_path: Path, clock: FixedClock, seed: int) -> None:
    """What is remembered of groups is what is found by asking anew, after every step of a random history."""
    chance = random.Random(seed)
    with opened(tmp_path, clock, segments=SEGMENTS) as engine:
        for _ in range(80):
            user = f"u{chance.randrange(5)}"
            if chance.random() < 0.3:
                engine.ingest([lives(user, clock, **home(f"Gasse {chance.randrange(2)}"))])
            elif chance.random() < 0.2:
                other = f"user_id:u{chance.randrange(5)}"
                is_one = engine.together(f"anonymous_id:a{user}", other).is_one
                clock.advance(1_000)
                if not is_one:
                    engine.commit(engine.relink(f"anonymous_id:a{user}", other, "merge", who="x"))
            elif chance.random() < 0.1:
                asked = {"placement": "home_recs", "identifiers": {"user_id": user}}
                engine.decide(asked)
            else:
                engine.ingest(
                    [bought(user, float(chance.randrange(1, 40)), clock, chance.choice(["", "acme"]))]
                )
            remembered = known(engine, clock)
            engine.forget_people()
            fresh = known(engine, clock)
            assert remembered == fresh


def test_a_large_account_may_lag_by_a_second_but_never_about_who_allows_it(
    tmp_path: Path, clock: FixedClock
) -> None:
    text = "segments: [{name: rich, when: {account.spent: {gte: 100}}}]"
    with opened(tmp_path, clock, segments=text) as engine:
        for n in range(40):
            engine.ingest([bought(f"u{n}", 2, clock, "acme")])
        assert segments(engine, "u0") == []
        moment = clock()
        late = bought("u1", 50, clock, "acme")
        clock.advance(moment - clock())
        engine.ingest([late])
        assert segments(engine, "u0") == []
        clock.advance(1_000)
        assert segments(engine, "u0") == ["rich"], "40 * 2 + 50"
        no = {"consent": {"categoryPreferences": {"personalization": False}}}
        engine.ingest(
            {"type": "track", "event": "Consent Updated", "userId": "u1", "messageId": "c", "context": no}
        )
        assert segments(engine, "u0") == []


def arm(engine: Engine, user: str) -> str:
    [decision] = engine.decide({"placement": "home_recs", "identifiers": {"user_id": user}}).decisions
    return decision.experiment.variant


def trial(weight: float) -> str:
    return TRIAL.replace("WEIGHT", str(weight)).replace("REST", str(1 - weight))


def test_the_first_exposure_stands_for_the_household(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock, experiments=trial(0.5)) as engine:
        items(engine)
        for n in range(40):
            engine.ingest([lives(f"u{n}", clock, **home(f"Gasse {n // 2}"))])
        first = {n // 2: arm(engine, f"u{n}") for n in range(0, 40, 2)}
        assert Counter(first.values()).keys() == {"a", "b"}
    with opened(tmp_path, clock, experiments=trial(0.95)) as engine:
        clock.advance(DAY)
        second = {n // 2: arm(engine, f"u{n}") for n in range(1, 40, 2)}
        assert second == first, "other shares move nobody, also who was never asked before"
        engine.ingest([lives("new", clock, **home("Gasse 3"))])
        assert arm(engine, "new") == first[3], "who moves in sees what is seen there"
        engine.ingest([lives("u6", clock, **home("Gasse 99")), lives("u7", clock, **home("Gasse 99"))])
        engine.ingest([lives("late", clock, **home("Gasse 3"))])
        assert arm(engine, "late") == first[3], "although who saw it first has moved out"


def test_who_moves_sees_the_arm_of_the_new_home_and_both_stay_on_record(
    tmp_path: Path, clock: FixedClock
) -> None:
    with opened(tmp_path, clock, experiments=trial(0.5)) as engine:
        items(engine)
        for n in range(20):
            engine.ingest([lives(f"u{n}", clock, **home(f"Gasse {n}"))])
        arms = {n: arm(engine, f"u{n}") for n in range(20)}
        other = next(n for n in arms if arms[n] != arms[0])
        engine.ingest([lives("u0", clock, **home(f"Gasse {other}"))])
        assert arm(engine, "u0") == arms[other]
        saw = [
            next(iter(arms))
            for key, arms in engine.state.leaf("user_id:u0").exposed.items()
            if key.startswith("x|")
        ]
        assert sorted(saw) == ["a", "b"], "the flip is on record"
        engine.ingest([lives("u0", clock, **home("Gasse 0"))])
        assert arm(engine, "u0") == arms[0]
        after = engine.state.leaf("user_id:u0").exposed
    shutil.rmtree(tmp_path / "data" / "state")
    with opened(tmp_path, clock, experiments=trial(0.5)) as rebuilt:
        assert rebuilt.state.leaf("user_id:u0").exposed == after
        assert arm(rebuilt, "u0") == arms[0]


def test_an_audience_asks_the_account(tmp_path: Path, clock: FixedClock) -> None:
    text = trial(0.5).replace("unit: household", "unit: person\n    audience: {account.spent: {gte: 50}}")
    with opened(tmp_path, clock, experiments=text) as engine:
        items(engine)
        engine.ingest(
            [bought("u1", 60, clock, "acme"), bought("u2", 1, clock, "acme"), bought("u3", 99, clock)]
        )
        assert arm(engine, "u2") in ("a", "b")
        assert arm(engine, "u3") == ""


@pytest.mark.parametrize("path", ["account.nothing", "household", "account."])
def test_a_feature_that_no_group_has(tmp_path: Path, clock: FixedClock, path: str) -> None:
    with pytest.raises(InvalidDefinition, match="no such feature"):
        opened(tmp_path, clock, segments=f"segments: [{{name: s, when: {{{path!r}: 1}}}}]")


def test_what_is_sensitive_of_a_person_is_so_of_a_group(tmp_path: Path, clock: FixedClock) -> None:
    features = "features: [{name: faith, fold: last, event: '*', value: traits.religion}]"
    with pytest.raises(InvalidDefinition, match=r"declared sensitive and not allowed for segments"):
        opened(
            tmp_path, clock, features=features,
            segments="segments: [{name: s, when: {household.faith: x}}]",
            privacy="sensitive: [{path: traits.religion, allow: [features]}]",
        )  # fmt: skip


def test_where_nothing_asks_nothing_is_looked_up(tmp_path: Path, clock: FixedClock) -> None:
    with opened(tmp_path, clock) as engine:
        assert engine.company is None
