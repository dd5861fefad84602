"""The loop as a library: events in, the next decision knows; everything survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opportune import Engine, Event
from opportune.clock import HOUR, FixedClock
from opportune.engine.admission import SHARED, Admission
from opportune.engine.workspace import load_workspace
from opportune.errors import DiskFull, FlushFailed, FolderInUse, InvalidRequest, NotFound
from opportune.events.event import Tally
from opportune.stores.disk import Appender, RealDisk


def viewed(user: str, item: str, time: int, **more: Any) -> dict[str, Any]:
    kind = "anonymousId" if user.startswith("a") else "userId"
    return {
        "type": "track",
        "event": "Product Viewed",
        kind: user,
        "messageId": f"{user}-{item}-{time}",
        "timestamp": time,
        "properties": {"product_id": item, **more},
    }


ITEMS = [
    {
        "item_id": f"p{n}",
        "name": f"Product {n}",
        "price": n + 0.5,
        "category": "even" if n % 2 == 0 else "odd",
    }
    for n in range(20)
]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def engine(tmp_path: Path, clock: FixedClock) -> Any:
    with Engine.open(tmp_path / "data", clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        yield engine


def histories(clock: FixedClock) -> list[dict[str, Any]]:
    """Twelve earlier visitors: those who saw p1 went on to p3, those who saw p2 to p4."""
    start = clock() - 2 * HOUR
    events = []
    for n in range(12):
        first, second = ("p1", "p3") if n % 2 else ("p2", "p4")
        events += [
            viewed(f"u{n}", first, start + n * 60_000),
            viewed(f"u{n}", second, start + n * 60_000 + 5_000),
        ]
    return events


def test_the_next_decision_knows_the_last_event(engine: Engine, clock: FixedClock) -> None:
    engine.ingest(histories(clock))
    request = {"placement": "home_recs", "identifiers": {"anonymous_id": "a9"}, "count": 3}
    engine.ingest([viewed("a9", "p1", clock() - 1_000)])
    decision = engine.decide(request).decisions[0]
    assert decision.items[0].item_id == "p3"
    assert decision.items[0].reasons[0].item_id == "p1"
    assert "Product 1" in decision.items[0].reasons[0].text
    engine.ingest([viewed("a9", "p2", clock())])
    items = [item.item_id for item in engine.decide(request).decisions[0].items]
    assert items[0] == "p4"


def test_every_event_ends_in_one_of_the_counts(engine: Engine, clock: FixedClock) -> None:
    good = viewed("u1", "p1", clock())
    receipt = engine.ingest([good, good, {"type": "track", "userId": "u1"}, {"event": "x", "type": "track"}])
    assert (receipt.received, receipt.stored, receipt.duplicate, receipt.rejected) == (4, 1, 1, 2)
    counts = engine.accounting()
    assert counts["balanced"]
    assert counts["total"]["received"] == 4 + len(ITEMS)
    letters = engine.dead_letters()["letters"]
    assert {letter["where"] for letter in letters} == {"$.event", "$.userId"}


def test_a_dead_letter_is_fixed_and_replayed_once(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([{"type": "track", "userId": "u1", "messageId": "m1", "timestamp": clock()}])
    letter = engine.dead_letters()["letters"][0]["id"]
    admission = engine.replay_dead_letter(letter)
    engine.commit(admission)
    assert admission.verdicts[0].verdict == "rejected"
    assert engine.dead_letters()["letters"][0]["attempt"] == 1
    fixed = b'{"type":"track","event":"Song Played","userId":"u1","messageId":"m1"}'
    engine.commit(engine.replay_dead_letter(letter, fixed))
    assert engine.dead_letters()["letters"] == []
    assert engine.profile("user_id:u1")["events"] == {"Song Played": 1}
    assert engine.accounting()["balanced"]
    assert engine.accounting()["total"]["replayed"] == 1
    with pytest.raises(NotFound, match="no open dead letter has this id"):
        engine.replay_dead_letter(letter)


def test_login_joins_the_anonymous_history_at_once(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([viewed("a1", "p1", clock() - 5_000), viewed("a1", "p2", clock() - 4_000)])
    engine.ingest([{"type": "identify", "userId": "u7", "anonymousId": "a1", "traits": {"email": "x@y.z"}}])
    profile = engine.profile("user_id:u7")
    assert profile["id"] == "user_id:u7"
    assert {i["identifier"] for i in profile["identifiers"]} >= {
        "user_id:u7",
        "anonymous_id:a1",
        "email:x@y.z",
    }
    assert [t["item_id"] for t in profile["session"]["touches"]] == ["p1", "p2"]
    assert profile["traits"]["email"]["value"] == "x@y.z"
    assert {link["rule"] for link in profile["links"]} == {"identify"}


def test_two_logins_on_one_browser_stay_two_people(engine: Engine, clock: FixedClock) -> None:
    for user in ("u1", "u2"):
        engine.ingest([{"type": "identify", "userId": user, "anonymousId": "shared", "traits": {"n": user}}])
    one, two = engine.profile("user_id:u1"), engine.profile("user_id:u2")
    assert one["id"] != two["id"]
    assert one["traits"]["n"]["value"] == "u1"
    assert two["traits"]["n"]["value"] == "u2"
    assert {r["reason"] for r in [*one["refused"], *two["refused"]]} == {"limit:user_id"}


@pytest.mark.parametrize("name", ["identity_linked", "identity_unlinked"])
def test_the_public_joins_nobody_by_hand(engine: Engine, clock: FixedClock, name: str) -> None:
    by_hand = {
        "type": "track",
        "event": name,
        "userId": "u1",
        "anonymousId": "a1",
        "messageId": "m1",
        "properties": {},
    }
    about: dict[str, Any] = {"kind": None, "dialect": "segment", "source": "shop", "received": clock()}
    public = engine.admit([by_hand], **about, is_public=True)
    engine.commit(public)
    assert public.verdicts[0].verdict == "rejected"
    assert public.verdicts[0].code == "not_allowed"
    assert public.verdicts[0].reason == f"only the secret key joins people by hand, saw {name!r}"
    assert not engine.state.leaf("user_id:u1").links
    private = engine.admit([by_hand], **about)
    engine.commit(private)
    assert private.verdicts[0].verdict == "stored"
    assert list(engine.state.leaf("user_id:u1").links) == ["anonymous_id:a1"]


def test_a_decision_can_be_explained_and_hears_of_its_outcomes(engine: Engine, clock: FixedClock) -> None:
    engine.ingest(histories(clock))
    engine.ingest([viewed("u50", "p1", clock())])
    answer = engine.decide({"placement": "home_recs", "identifiers": {"user_id": "u50"}, "explain": True})
    decision = answer.decisions[0]
    clock.advance(5_000)
    engine.ingest([viewed("u50", decision.items[0].item_id, clock(), decision_id=decision.decision_id)])
    clock.advance(5_000)
    order = {
        "type": "track",
        "event": "Order Completed",
        "userId": "u50",
        "timestamp": clock(),
        "properties": {"order_id": "o1", "total": 3.5, "products": [{"product_id": "p3", "price": 3.5}]},
    }
    engine.ingest([order])  # says nothing of the decision: last touch finds it
    kept = engine.decision(decision.decision_id)
    assert kept["placement"] == "home_recs"
    assert [o["kind"] for o in kept["outcomes"]] == ["view", "buy"]
    seen = {"decision_id": decision.decision_id, "products": [{"product_id": "p3"}]}
    shown = {"type": "track", "event": "Product List Viewed", "userId": "u50", "properties": seen}
    engine.ingest([shown])
    assert engine.decision(decision.decision_id)["outcomes"] == kept["outcomes"]
    assert kept["explanation"]
    with pytest.raises(NotFound, match="no such decision"):
        engine.decision("0" * 24)


def test_everything_survives_a_restart(tmp_path: Path, clock: FixedClock) -> None:
    request = {"placement": "home_recs", "identifiers": {"user_id": "u1"}}
    engine = Engine.open(tmp_path, clock=clock)
    engine.ingest(ITEMS, dialect="catalog")
    engine.ingest(histories(clock))
    engine.checkpoint()
    engine.ingest([viewed("u1", "p2", clock())])
    items = [i.item_id for i in engine.decide(request).decisions[0].items]
    before = engine.profile("user_id:u1")
    counts = engine.accounting()
    with pytest.raises(FolderInUse):
        Engine.open(tmp_path, clock=clock)
    engine.flush()
    engine.abandon()
    with Engine.open(tmp_path, clock=clock) as engine:
        assert engine.profile("user_id:u1") == before
        assert engine.recent_events(1)[0]["message_id"].startswith("u1-p2")
        assert engine.recent_decisions()[0]["placement"] == "home_recs"
        assert engine.accounting() == counts
        assert engine.ingest([viewed("u1", "p2", clock())]).duplicate == 1
        assert [i.item_id for i in engine.decide(request).decisions[0].items] == items


def test_small_admissions_share_a_commit_group_and_a_tally(tmp_path: Path, clock: FixedClock) -> None:
    def admit(engine: Engine, raw: dict[str, Any], source: str) -> Admission:
        return engine.admit([raw], kind=None, dialect="segment", source=source, received=clock())

    with Engine.open(tmp_path, clock=clock) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        first = engine.journal.next_seq
        posts = [admit(engine, viewed(f"u{n}", "p1", clock()), "web") for n in range(3)]
        posts += [admit(engine, viewed("u0", "p1", clock()), "web"), admit(engine, {"type": "?"}, "app")]
        engine.append(posts)
        assert [post.first_seq for post in posts] == [first, first + 1, first + 2, first + 3, first + 3]
        engine.flush()
        engine.apply(posts)
        groups = list(engine.journal.scan_groups(first))
        assert [(seq, len(records)) for seq, records in groups] == [(first, 3 + 1 + 2)]
        kept = [engine.entries.decode(record) for record in groups[0][1]]
        assert kept[4:] == [Tally("web", 4, 3, 1), Tally("app", 1, 0, 0, 1)]
        counts = engine.accounting()
        assert counts["balanced"]
        assert (counts["total"]["stored"], counts["total"]["duplicate"]) == (3 + len(ITEMS), 1)
        assert len(engine.recent_events(3)) == 3

    with Engine.open(tmp_path, clock=clock) as engine:
        assert engine.accounting() == counts


def test_a_commit_group_stays_small_enough_to_be_read_for_one_record(
    engine: Engine, clock: FixedClock
) -> None:
    first = engine.journal.next_seq
    posts = [
        engine.admit(
            [viewed(f"u{n}", "p1", clock() + n)], kind=None, dialect="segment", source="web", received=clock()
        )
        for n in range(2 * SHARED + 1)
    ]
    engine.append(posts)
    engine.flush()
    engine.apply(posts)
    sizes = [len(records) for _, records in engine.journal.scan_groups(first)]
    assert sizes == [SHARED + 1, SHARED + 1, 1 + 1]


def test_a_stranger_and_an_empty_catalogue_get_an_answer(tmp_path: Path, clock: FixedClock) -> None:
    with Engine.open(tmp_path, clock=clock) as engine:
        decision = engine.decide({"placement": "home_recs"}).decisions[0]
        assert decision.items == []
        assert decision.degraded
        with pytest.raises(NotFound):
            engine.decide({"placement": "nowhere"})
        with pytest.raises(InvalidRequest, match="Expected `str`"):
            engine.decide({"placement": 5})


def test_inline_events_are_enough(engine: Engine, clock: FixedClock) -> None:
    engine.ingest(histories(clock))
    before = engine.accounting()
    request = {
        "placement": "home_recs",
        "session_id": "abc123",
        "events": [{"event": "product_viewed", "product_id": "p1", "timestamp": clock()}],
    }
    decision = engine.decide(request).decisions[0]
    assert decision.items[0].item_id == "p3"
    assert engine.accounting() == before


def test_an_event_of_the_librarys_own_type_is_made_fit_for_the_journal(
    engine: Engine, clock: FixedClock
) -> None:
    huge = Event("track", "x", "m1", "", clock(), clock(), ("user_id:u1",), properties={"n": 10**30})
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"d": deep}
    too_deep = Event("track", "x", "m2", "", clock(), clock(), ("user_id:u1",), properties=deep)
    receipt = engine.ingest([huge, too_deep])
    assert (receipt.stored, receipt.rejected) == (1, 1)
    assert engine.recent_events(1)[0]["properties"] == {"n": str(10**30)}


def test_a_shop_without_a_single_visitor_shows_its_newest_items(engine: Engine) -> None:
    decision = engine.decide({"placement": "home_recs", "count": 3}).decisions[0]
    assert [item.item_id for item in decision.items] == ["p19", "p18", "p17"]


def test_decisions_go_on_when_the_journal_cannot(tmp_path: Path, clock: FixedClock) -> None:
    disks: list[FailingDisk] = []

    def open_disk() -> FailingDisk:
        disks.append(FailingDisk(tmp_path))
        return disks[-1]

    engine = Engine(open_disk, load_workspace(None), clock=clock)
    engine.ingest(ITEMS, dialect="catalog")
    disks[-1].broken = True
    with pytest.raises(DiskFull):
        engine.ingest([viewed("u1", "p1", clock())])
    decision = engine.decide({"placement": "home_recs"}).decisions[0]
    assert decision.items
    assert any(note.startswith("record: the journal stopped accepting") for note in decision.degraded)
    with pytest.raises(FlushFailed, match="stopped accepting"):
        engine.ingest([viewed("u1", "p2", clock())])
    disks[-1].broken = False
    engine.reopen()
    receipt = engine.ingest([viewed("u1", "p1", clock()), viewed("u1", "p2", clock())])
    assert receipt.stored == 2
    assert engine.accounting()["balanced"]
    engine.close()


class FailingDisk(RealDisk):
    """A disk that is full while ``broken``."""

    broken = False

    def open_append(self, name: str) -> Appender:
        inner = super().open_append(name)
        disk = self

        class Failing:
            def append(self, data: Any) -> None:
                if disk.broken:
                    raise DiskFull("the disk is full")
                inner.append(data)

            def flush(self) -> None:
                inner.flush()

            def close(self) -> None:
                inner.close()

        return Failing()


def test_the_catalogue_fills_in_what_an_event_leaves_out(engine: Engine, clock: FixedClock) -> None:
    engine.ingest([viewed("u1", "p2", clock())])
    assert list(engine.profile("user_id:u1")["features"]["affinity_category"]) == ["even"]


def test_shared_models_may_lag_but_the_own_session_does_not(engine: Engine, clock: FixedClock) -> None:
    engine.learn_every = 50
    popular = {"placement": "home_recs", "identifiers": {"anonymous_id": "stranger"}}
    engine.decide(popular)
    engine.ingest([viewed("u1", "p7", clock()), viewed("u2", "p7", clock())])
    engine.ingest([viewed("stranger-too", "p9", clock())])
    own = engine.decide({"placement": "pdp_similar", "identifiers": {"user_id": "u1"}, "explain": True})
    assert own.decisions[0].explanation["session"][0]["item_id"] == "p7"

    def trending() -> list[str]:
        (decision,) = engine.decide({**popular, "explain": True}).decisions
        return [c["item_id"] for c in decision.explanation["candidates"] if "trending" in c["sources"]]

    assert trending() == []
    clock.advance(50)
    assert trending()[0] == "p7"
