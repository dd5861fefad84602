from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.dump import fingerprint
from opportune.errors import InvalidRequest
from opportune.identity.corrections import Action, path
from opportune.identity.links import Evidence, Link

U1, U2, A1, A2, E1 = "user_id:u1", "user_id:u2", "anonymous_id:a1", "anonymous_id:a2", "email:a@b.example"
NOW = 1_760_000_000_000


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Iterator[Engine]:
    with Engine.open(tmp_path, clock=clock) as engine:
        engine.ingest(
            [
                {"type": "identify", "userId": "u1", "anonymousId": "a1", "messageId": "m1"},
                {"type": "page", "anonymousId": "a2", "messageId": "m2"},
                {"type": "page", "userId": "u2", "messageId": "m3"},
            ],
            source="web",
        )
        yield engine


def do(engine: Engine, a: str, b: str, action: Action, why: str = "") -> tuple[bool, str]:
    engine.commit(engine.relink(a, b, action, who="user:ada", why=why))
    found = engine.together(a, b)
    return found.is_one, found.refused


def test_joined_by_hand_and_taken_apart_again(engine: Engine, clock: FixedClock) -> None:
    before = engine.profile(A2)
    assert do(engine, U1, A2, "merge", "asked by phone") == (True, "")
    assert {i["identifier"] for i in engine.profile(A2)["identifiers"]} == {U1, A1, A2}
    clock.advance(1_000)
    assert do(engine, A2, U1, "unmerge") == (False, "retracted")
    after = engine.profile(A2)
    assert after["features"].keys() == before["features"].keys()
    assert [i["identifier"] for i in after["identifiers"]] == [A2]
    assert [(c["action"], c["a"], c["b"], c["who"], c["why"], c["undo"]) for c in engine.corrections()] == [
        ("unlinked", U1, A2, "user:ada", "", "merge"),
        ("linked", U1, A2, "user:ada", "asked by phone", ""),
    ]
    assert engine.accounting()["balanced"]


def test_two_logins_wait_for_review(engine: Engine, clock: FixedClock) -> None:
    assert do(engine, U1, U2, "merge") == (False, "limit:user_id")
    (review,) = engine.reviews()["reviews"]
    assert (review["a"], review["b"], review["reason"]) == (U1, U2, "limit:user_id")
    assert (review["a_members"], review["b_members"]) == ([U1, A1], [U2])
    clock.advance(1)
    assert do(engine, U1, U2, "confirm") == (True, "")
    assert engine.reviews()["reviews"] == []
    assert {i["identifier"] for i in engine.profile(U2)["identifiers"]} == {U1, U2, A1}
    clock.advance(1)
    assert do(engine, U1, U2, "unmerge") == (False, "retracted")
    assert engine.reviews()["reviews"] == []


def test_a_second_login_on_a_browser_waits_and_can_be_kept_apart(engine: Engine, clock: FixedClock) -> None:
    engine.ingest(
        [{"type": "identify", "userId": "u2", "anonymousId": "a1", "messageId": "m9"}], source="web"
    )
    (review,) = engine.reviews()["reviews"]
    assert (review["a"], review["b"], review["reason"]) == (U2, A1, "limit:user_id")
    clock.advance(1)
    do(engine, U2, A1, "unmerge", "a shared computer")
    assert engine.reviews() == {"reviews": [], "more": False}


def test_a_crowd_is_one_entry(engine: Engine) -> None:
    engine.ingest(
        [
            {
                "type": "track",
                "event": "x",
                "anonymousId": f"k{n}",
                "context": {"traits": {"email": "kiosk@b.example"}},
            }
            for n in range(60)
        ],
        source="kiosk",
    )
    assert [(r["reason"]) for r in engine.reviews()["reviews"]] == ["crowded:email:kiosk@b.example"]
    assert engine.reviews(limit=1)["more"] is False


def test_the_list_outlives_a_restart_and_a_rebuild(tmp_path: Path, clock: FixedClock) -> None:
    said = [
        {"type": "identify", "userId": f"u{n}", "anonymousId": "a1", "messageId": f"m{n}"} for n in range(3)
    ]
    with Engine.open(tmp_path, clock=clock) as engine:
        engine.ingest(said[:2], source="web")
        do(engine, U1, U2, "merge")
        engine.checkpoint()
        engine.ingest(said[2:], source="web")
        expected = engine.reviews(), engine.corrections()
        assert len(expected[0]["reviews"]) == 3
    with Engine.open(tmp_path, clock=clock) as engine:
        assert (engine.reviews(), engine.corrections()) == expected


def test_a_rebuild_knows_what_was_said_by_hand(tmp_path: Path, clock: FixedClock) -> None:
    with Engine.open(tmp_path, clock=clock) as engine:
        engine.ingest([{"type": "page", "userId": "u1", "anonymousId": "a1", "messageId": "m1"}])
        do(engine, U1, A1, "unmerge")
        expected = fingerprint(engine.state)
    shutil.rmtree(tmp_path / "state")
    with Engine.open(tmp_path, clock=clock) as engine:
        assert fingerprint(engine.state) == expected


@pytest.mark.parametrize(
    ("a", "b", "action", "problem"),
    [
        (U1, U1, "merge", "a person cannot be joined with or taken from themselves, saw 'user_id:u1'"),
        (U1, "user_id: u1 ", "merge", "a person cannot be joined with or taken from themselves"),
        ("u1", U2, "merge", r"this names no person, saw 'u1', at \$.a: write it as type:value"),
        (U1, "user_id:", "merge", r"this names no person, saw 'user_id:', at \$.b"),
        (U1, "account:acme", "merge", "this names no person, saw 'account:acme'"),
        (U1, U2, "unmerge", "nothing joins the two"),
        (U2, A2, "unmerge", "nothing joins the two"),
    ],
)
def test_what_cannot_be_meant(engine: Engine, a: str, b: str, action: Action, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        engine.relink(a, b, action, who="user:ada")


def test_doing_it_twice_is_said(engine: Engine, clock: FixedClock) -> None:
    do(engine, U1, A2, "merge")
    with pytest.raises(InvalidRequest, match="the two are joined by hand already"):
        engine.relink(U1, A2, "merge", who="user:ada")
    clock.advance(1)
    do(engine, U1, A2, "unmerge")
    with pytest.raises(InvalidRequest, match="the two were taken apart before"):
        engine.relink(U1, A2, "unmerge", who="user:ada")


def test_what_others_join_names_the_links(engine: Engine) -> None:
    do(engine, U1, A2, "merge")
    with pytest.raises(
        InvalidRequest, match=r"joined only through others.*user_id:u1 with anonymous_id:a1 and"
    ):
        engine.relink(A1, A2, "unmerge", who="user:ada")


def test_the_shortest_way() -> None:
    evidence = Evidence("together", 1, "m", "web", 1)
    links = tuple(Link(a, b, evidence) for a, b in ((U1, E1), (E1, A1), (A1, A2), (U1, A2)))
    assert [(link.a, link.b) for link in path(links, U1, A1)] == [(U1, E1), (E1, A1)]
    assert path(links, U1, U2) == []
    assert path(links, U1, U1) == []


def test_corrections_are_bounded(engine: Engine, clock: FixedClock) -> None:
    reviews = engine.state.reviews
    for _ in range(260):
        clock.advance(1)
        do(engine, U1, A2, "merge")
        clock.advance(1)
        do(engine, U1, A2, "unmerge")
    assert len(reviews.corrections) == 500
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(reviews), type=type(reviews)) == reviews
