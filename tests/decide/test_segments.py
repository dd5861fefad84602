"""Rules for segments: who they hold for, what their items say, and that a record replays them."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.decide.replay import replay
from opportune.profiles.segments import parse_segments

PLACEMENT = """
placements:
  - name: p
    count: 3
    sources: [{source: session_knn}]
    fallbacks: []
    rules:
      - {boost: 10, where: {category: c2}, segment: bargain, reason: "a good price, as you asked"}
      - {pin: i7, rank: 3, segment: loyal, reason: for regulars}
"""
SEGMENTS = "segments: [{name: bargain, when: {intents.price: {gt: 0.5}}}, {name: loyal, when: {orders: 9}}]"


def world_of(kit: Any) -> Any:
    world = kit.world(PLACEMENT, session_knn=[0, 1, 2, 3])
    return msgspec.structs.replace(world, segments=parse_segments(SEGMENTS))


def test_a_rule_holds_for_its_segment_only_and_says_why(kit: Any) -> None:
    world = world_of(kit)
    assert kit.shown(world) == ["i0", "i1", "i2"]
    after_price = kit.Shopper(known={"intents": {"price": 0.9}})
    decision, record = kit.one(world, after_price)
    assert [i.item_id for i in decision.items] == ["i2", "i0", "i1"]
    assert [(r.code, r.text) for r in decision.items[0].reasons] == [
        ("rule", "a good price, as you asked"),
        ("viewed_together", "others viewed it too"),
    ]
    assert decision.items[1].reasons[0].code == "viewed_together"
    assert record.features == {"segments": ["bargain"]}


def test_a_pin_for_a_segment_says_why(kit: Any) -> None:
    decision, _ = kit.one(world_of(kit), kit.Shopper(known={"orders": 9}))
    assert [i.item_id for i in decision.items] == ["i0", "i1", "i7"]
    assert decision.items[2].reasons[0].text == "for regulars"


def test_a_record_replays_without_the_person(kit: Any) -> None:
    world = world_of(kit)
    decision, record = kit.one(world, kit.Shopper(known={"intents": {"price": 0.9}}))
    assert replay(world, record) == [i.item_id for i in decision.items]


def test_a_placement_without_such_rules_keeps_no_segments(kit: Any) -> None:
    world = msgspec.structs.replace(
        kit.world("placements: [{name: p, sources: [{source: session_knn}]}]", session_knn=[0]),
        segments=parse_segments(SEGMENTS),
    )
    _, record = kit.one(world, kit.Shopper(known={"orders": 9}))
    assert record.features == {}
