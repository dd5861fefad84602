"""Filters, rules, diversity and pins, seen through whole decisions."""

from __future__ import annotations

from typing import Any

import pytest

from opportune.clock import DAY

NOW = 1_760_000_000_000
BASE = "placements: [{name: p, count: 4, sources: [{source: session_knn}], fallbacks: []%s}]"


def placement(rest: str = "") -> str:
    return BASE % (", " + rest if rest else "")


def test_the_best_are_shown_in_order(kit: Any) -> None:
    world = kit.world(placement(), session_knn=[5, 3, 8, 1, 2])
    assert kit.shown(world) == ["i5", "i3", "i8", "i1"]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("filters: {in_stock: true}", ["i0", "i1", "i2", "i3"]),
        ("filters: {in_stock: false}", ["i9", "i0", "i1", "i2"]),
        ("filters: {deny: {items: [i0, unknown, i2]}}", ["i1", "i3", "i4", "i5"]),
        ("filters: {deny: {categories: [c0]}}", ["i1", "i2", "i3", "i5"]),
        ("filters: {deny: {categories: [c0], brands: [b1]}}", ["i2", "i3", "i5", "i6"]),
        ("filters: {allow: {items: [i4, i2]}}", ["i2", "i4"]),
        ("filters: {allow: {categories: [c1]}}", ["i1", "i5"]),
        ("filters: {allow: {categories: [c1], brands: [b2]}}", ["i5"]),
        ("filters: {allow: {categories: [nothing]}}", []),
        ("filters: {price: {min: 2, max: 4}}", ["i2", "i3", "i4"]),
        ("filters: {price: {min: 6.5}}", ["i7", "i8"]),
    ],
)
def test_filters_look_at_what_an_item_is(kit: Any, rest: str, expected: list[str]) -> None:
    world = kit.world(placement(rest), session_knn=[9, *range(9)])
    assert kit.shown(world) == expected


def test_items_without_a_price_do_not_pass_a_price_range(kit: Any) -> None:
    catalog = kit.catalog()
    catalog.upsert("i1", {"price": None}, NOW)
    world = kit.world(placement("filters: {price: {min: 0}}"), catalog, session_knn=[1, 2])
    assert kit.shown(world) == ["i2"]


def test_items_that_only_events_have_mentioned_can_be_kept_out(kit: Any) -> None:
    catalog = kit.catalog(5)
    catalog.upsert("rumour", {"name": "x"}, NOW, rank=0)
    assert kit.shown(kit.world(placement(), catalog, session_knn=[5, 1])) == ["rumour", "i1"]
    assert kit.shown(kit.world(placement("filters: {listed: true}"), catalog, session_knn=[5, 1])) == ["i1"]


@pytest.mark.parametrize(
    ("window", "expected"), [("all", ["i4"]), ("30d", ["i3", "i4"]), ("1d", ["i2", "i3", "i4"])]
)
@pytest.mark.parametrize("more", [0, 2_000])
def test_what_was_bought_within_the_window_is_not_shown(
    kit: Any, window: str, expected: list[str], more: int
) -> None:
    bought = {"i1": NOW - 60, "i2": NOW - 2 * DAY, "i3": NOW - 40 * DAY, "gone": NOW}
    bought.update({f"old{k}": NOW for k in range(more)})
    world = kit.world(
        placement(f"filters: {{exclude_bought: {{window: {window}}}}}"), session_knn=[1, 2, 3, 4]
    )
    assert kit.shown(world, kit.Shopper(bought=bought)) == expected


def test_dismissed_items_are_not_shown_unless_the_placement_says_so(kit: Any) -> None:
    shopper = kit.Shopper(dismissed=("i1", "gone"))
    assert kit.shown(kit.world(placement(), session_knn=[1, 2]), shopper) == ["i2"]
    lenient = kit.world(placement("filters: {exclude_dismissed: false}"), session_knn=[1, 2])
    assert kit.shown(lenient, shopper) == ["i1", "i2"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("repeat: allow", ["i1", "i2", "i3", "i4"]),
        ("repeat: never_current", ["i2", "i3", "i4"]),
        ("repeat: once", ["i4"]),
        ("repeat: never_current, exclude_in_session: [cart]", ["i2", "i4"]),
        ("repeat: allow, exclude_in_session: [cart, buy]", ["i1", "i2", "i4"]),
    ],
)
def test_the_repeat_policy_says_what_may_come_back(kit: Any, filters: str, expected: list[str]) -> None:
    world = kit.world(placement(f"filters: {{{filters}}}"), session_knn=[1, 2, 3, 4])
    touches = (kit.Touched("i1", "view", NOW), kit.Touched("i2", "view", NOW), kit.Touched("i3", "cart", NOW))
    shown = kit.shown(world, kit.Shopper(touches=touches), context={"item_id": "i1"})
    assert shown == expected


def test_the_requests_exclusions_hold(kit: Any) -> None:
    world = kit.world(placement(), session_knn=[1, 2, 3])
    assert kit.shown(world, exclude=["i2", "unknown"]) == ["i1", "i3"]


def test_a_placement_can_keep_to_the_category_of_the_page(kit: Any) -> None:
    world = kit.world(placement("filters: {same_category: true}"), session_knn=list(range(9)))
    assert kit.shown(world, context={"category": "c2"}) == ["i2", "i6"]
    assert kit.shown(world, context={"item_id": "i2"}) == ["i6"]
    assert len(kit.shown(world)) == 4


def test_a_boost_multiplies_the_score(kit: Any) -> None:
    knn = kit.FixedSource("session_knn", "viewed_together", [2, 3, 4], [1.0, 0.6, 0.4])
    world = kit.world(placement("rules: [{boost: 2, where: {color: blue}}]"), session_knn=knn)
    decision, record = kit.one(world)
    assert [(i.item_id, i.score) for i in decision.items] == [("i3", 1.2), ("i2", 1.0), ("i4", 0.4)]
    assert record.inputs["boosted"] == {"boost x2 where color=blue": 1}


def test_all_conditions_of_a_rule_must_hold_and_any_value_of_each(kit: Any) -> None:
    rule = "rules: [{boost: 100, where: {category: [c1, c2], brand: b2}}]"
    assert kit.shown(kit.world(placement(rule), session_knn=list(range(8))))[:2] == ["i2", "i5"]


def test_what_is_buried_comes_last_but_is_shown(kit: Any) -> None:
    world = kit.world(placement("rules: [{bury: true, where: {category: c0}}]"), session_knn=[0, 1, 4, 2])
    assert kit.shown(world) == ["i1", "i2", "i0", "i4"]


def test_a_pin_stands_at_its_rank_even_if_no_source_proposes_it(kit: Any) -> None:
    world = kit.world(placement("rules: [{pin: i30, rank: 2}, {pin: i3, rank: 4}]"), session_knn=[1, 2, 3, 4])
    decision, _ = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i1", "i30", "i2", "i3"]
    assert [i.reasons[0].code for i in decision.items] == [
        "viewed_together",
        "pinned",
        "viewed_together",
        "pinned",
    ]


@pytest.mark.parametrize("item", ["i9", "unknown"])
def test_a_pin_that_may_not_be_shown_is_not(kit: Any, item: str) -> None:
    world = kit.world(placement(f"rules: [{{pin: {item}, rank: 1}}]"), session_knn=[1, 2])
    assert kit.shown(world) == ["i1", "i2"]


def test_a_pin_beyond_the_list_is_left_out(kit: Any) -> None:
    world = kit.world(placement("rules: [{pin: i30, rank: 9}]"), session_knn=[1, 2])
    assert kit.shown(world, count=2) == ["i1", "i2"]


def test_no_category_has_more_than_its_share(kit: Any) -> None:
    world = kit.world(placement("diversity: {by: category, max_per: 1}"), session_knn=[0, 4, 8, 1, 5, 2])
    decision, record = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i0", "i1", "i2"]
    assert record.removed == {"diversity": 3}


def test_pins_count_towards_the_cap(kit: Any) -> None:
    rest = "diversity: {by: category, max_per: 1}, rules: [{pin: i8, rank: 3}]"
    assert kit.shown(kit.world(placement(rest), session_knn=[0, 1, 4, 2])) == ["i1", "i2", "i8"]


def test_a_list_may_be_all_pins(kit: Any) -> None:
    rest = "diversity: {by: category, max_per: 1}, rules: [{pin: i8, rank: 1}, {pin: i4, rank: 2}]"
    assert kit.shown(kit.world(placement(rest), session_knn=[0, 1]), count=2) == ["i8", "i4"]


def test_variety_by_marginal_relevance(kit: Any) -> None:
    knn = kit.FixedSource("session_knn", "viewed_together", [0, 4, 8, 1], [1.0, 0.9, 0.8, 0.7])
    world = kit.world(placement("diversity: {by: category, mmr: 0.5}"), session_knn=knn)
    assert kit.shown(world) == ["i0", "i1", "i4", "i8"]


def test_what_was_removed_is_counted_and_named(kit: Any) -> None:
    world = kit.world(placement("filters: {deny: {brands: [b2]}}"), session_knn=[9, 19, 29, 39, 2, 5, 1])
    shopper = kit.Shopper(dismissed=("i1",))
    decision, record = kit.one(world, shopper, exclude=["i4"], explain=True)
    assert record.removed == {"denied_brand": 2, "dismissed": 1, "not_available": 4}
    named = {entry["by"]: entry["examples"] for entry in decision.explanation["removed"]}
    assert named == {"not_available": ["i9", "i19"], "denied_brand": ["i2", "i5"], "dismissed": ["i1"]}
