"""The record explains, is small, and can be replayed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from opportune.clock import DAY
from opportune.decide.explain import explain, names_of
from opportune.decide.record import MAX_UNSHOWN
from opportune.decide.replay import replay
from opportune.decide.request import DecisionRecord
from opportune.decide.world import SessionView
from opportune.events.event import Event, Line

NOW = 1_760_000_000_000
HOME = """
placements:
  - name: home
    count: 8
    sources: [{source: session_knn}, {source: covisitation, weight: 0.5}, {source: content, weight: 0.2}]
    filters: {exclude_bought: {window: 30d}, exclude_in_session: [cart]}
    rules: [{boost: 1.2, where: {color: red}}]
    diversity: {by: category, max_per: 3}
    fallbacks: [trending, popular, default]
"""


def busy_world(kit: Any) -> Any:
    catalog = kit.catalog(200)
    return kit.world(
        HOME,
        catalog,
        session_knn=kit.FixedSource("session_knn", "viewed_together", range(5, 105), because=3),
        covisitation=list(range(150, 50, -1)),
        content=list(range(40, 140)),
        popular=list(range(199, 150, -1)),
    )


def busy_shopper(kit: Any) -> Any:
    return kit.Shopper(
        identifiers=("user_id:u-1029", "anonymous_id:0f2f31c0-58f5-4f9e-a1c1-0a5a4d5e6c11"),
        touches=tuple(
            kit.Touched(f"i{k}", "cart" if k == 6 else "view", NOW - 10_123 * (9 - k)) for k in range(2, 8)
        ),
        bought={"i5": NOW - DAY, "i8": NOW - 90 * DAY},
        dismissed=("i10", "i11"),
    )


def test_the_record_has_the_shown_first_then_the_best_of_the_rest(kit: Any) -> None:
    decision, record = kit.one(busy_world(kit), busy_shopper(kit))
    assert record.shown == 8
    assert record.candidates[:8] == [i.item_id for i in decision.items]
    assert len(record.candidates) == 8 + MAX_UNSHOWN
    assert len(set(record.candidates)) == len(record.candidates)
    for parallel in (record.scores, record.sources, record.because):
        assert len(parallel) == len(record.candidates)
    assert record.propensities == [1.0] * 8
    assert record.scores[:8] == pytest.approx([i.score for i in decision.items], abs=1e-6)
    assert record.identifiers == busy_shopper(kit).identifiers
    assert record.session_id == "s1"
    assert record.versions["placements"] == "workspace"


def test_the_record_keeps_what_each_person_was_told(kit: Any) -> None:
    decision, record = kit.one(busy_world(kit), busy_shopper(kit))
    told = [record.reasons[k] for k in record.inputs["reason_of"]]
    assert told == [i.reasons[0] for i in decision.items]


def test_a_typical_record_is_small_and_round_trips(kit: Any) -> None:
    _, record = kit.one(busy_world(kit), busy_shopper(kit), context={"page": "/category/mugs"})
    data = msgspec.msgpack.encode(record)
    assert len(data) <= 1_700
    assert msgspec.msgpack.decode(data, type=DecisionRecord) == record


def test_no_input_can_make_a_record_large(kit: Any) -> None:
    _, record = kit.one(
        busy_world(kit),
        busy_shopper(kit),
        context={f"k{n}": "x" * 10_000 for n in range(100)} | {"nested": {"a": 1}, "big": 2**100},
        exclude=[f"i{n % 150}" for n in range(10_000)],
        candidates=[f"i{n % 200}" for n in range(9_000)] + ["x" * 100_000],
        count=200,
    )
    assert len(record.context) <= 20
    assert len(record.inputs["exclude"]) == 200
    assert len(msgspec.msgpack.encode(record)) < 20_000


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"count": 20},
        {"context": {"page": "/product/i33"}, "exclude": ["i12", "i13"]},
        {"candidates": [f"i{k}" for k in range(60, 20, -1)]},
        {"candidates": ["i1", "nowhere"]},
    ],
)
def test_a_record_replays_to_the_same_list(kit: Any, request_: dict[str, Any]) -> None:
    world = busy_world(kit)
    inline = (Event("track", "product_viewed", "m", "inline", NOW - 77, NOW, lines=(Line("i3"),)),)
    decision, record = kit.one(world, busy_shopper(kit), SessionView("s1", inline), **request_)
    assert replay(world, record) == [i.item_id for i in decision.items]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=DecisionRecord)
    assert replay(world, again) == [i.item_id for i in decision.items]


def test_a_replay_asks_the_sources_the_same_question(kit: Any) -> None:
    world = busy_world(kit)
    _, record = kit.one(world, busy_shopper(kit))
    replay(world, record)
    first, second = world.sources["session_knn"].asked
    assert first.session.tolist() == second.session.tolist()
    assert first.kind.tolist() == second.kind.tolist()
    assert first.age_s.tolist() == second.age_s.tolist()
    assert first.now == second.now


def test_the_explanation_is_made_from_the_record_alone(kit: Any) -> None:
    world = busy_world(kit)
    decision, record = kit.one(world, busy_shopper(kit), explain=True)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=DecisionRecord)
    explanation = explain(stored)
    assert explanation == decision.explanation
    assert explanation["sources"]["proposed"] == {"session_knn": 100, "covisitation": 100, "content": 100}
    assert explanation["rules"] == [{"rule": "boost x1.2 where color=red", "count": 50}]
    assert explanation["session"][-1] == {"item_id": "i7", "kind": "view", "age_s": 20.246}
    removed = {entry["by"]: entry for entry in explanation["removed"]}
    assert removed["bought"] == {"by": "bought", "count": 1, "examples": ["i5"]}
    assert removed["in_session"]["examples"] == ["i6"]
    assert removed["dismissed"] == {"by": "dismissed", "count": 2, "examples": ["i10", "i11"]}
    msgspec.json.encode(explanation)


def test_a_waterfall_starts_each_stage_where_the_last_one_ended(kit: Any) -> None:
    timer = kit.Timer()
    world = busy_world(kit)
    world.timer = timer
    for name in ("session_knn", "content"):
        world.sources[name].work = lambda: timer.sleep_ms(2)
    _, record = kit.one(world, busy_shopper(kit))
    steps = {step["stage"]: step for step in explain(record)["waterfall"]}
    assert steps["candidates"] == {"stage": "candidates", "start_ms": 0.0, "ms": 4.0}
    assert steps["candidates.content"] == {"stage": "candidates.content", "ms": 2.0, "within": "candidates"}
    assert steps["policy"]["start_ms"] == 4.0


def test_bits_name_their_sources() -> None:
    assert names_of(0b1010, ("a", "b", "c", "d")) == ["b", "d"]
