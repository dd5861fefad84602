"""The page and the session in item numbers."""

from __future__ import annotations

from typing import Any

import pytest

from opportune.decide.situation import SESSION_ITEMS, Place, place_of, session_of
from opportune.events.event import Event, Line

NOW = 1_760_000_000_000


def event(name: str, *items: str, ago_ms: int = 0) -> Event:
    time = NOW - ago_ms
    return Event("track", name, "m", "inline", time, NOW, lines=tuple(Line(i) for i in items))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, Place(-1, -1)),
        ({"item_id": "i6"}, Place(6, 2)),
        ({"item_id": 6}, Place(-1, -1)),
        ({"item_id": "i6", "category": "c3"}, Place(6, 3)),
        ({"category": "C3"}, Place(-1, 3)),
        ({"page": "/product/i6"}, Place(6, 2)),
        ({"page": "https://shop.example/en/product/i6?ref=mail#top"}, Place(6, 2)),
        ({"page": "/category/c1/"}, Place(-1, 1)),
        ({"page": "/category/nothing"}, Place(-1, -1)),
        ({"page": "/about/i6"}, Place(-1, -1)),
        ({"page": "/product/i6", "item_id": "i7"}, Place(7, 3)),
        ({"page": None, "item_id": ["i6"], "category": {"a": 1}}, Place(-1, -1)),
        ({"page": "/product/" + "x" * 100_000}, Place(-1, -1)),
    ],
)
def test_the_page_is_read_from_the_context(kit: Any, context: dict[str, Any], expected: Place) -> None:
    assert place_of(context, kit.catalog()) == expected


def test_the_session_has_numbers_kinds_and_ages(kit: Any) -> None:
    touches = [kit.Touched("i3", "view", NOW - 5_000), kit.Touched("i4", "cart", NOW - 2_500)]
    session = session_of(touches, [], NOW, kit.catalog())
    assert session.item.tolist() == [3, 4]
    assert session.kind.tolist() == [0, 1]
    assert session.age_s.tolist() == [5.0, 2.5]
    assert session.touched == {3: {"view"}, 4: {"cart"}}


def test_inline_events_extend_the_session_in_order_of_time_and_once(kit: Any) -> None:
    touches = [kit.Touched("i3", "view", NOW - 5_000), kit.Touched("i5", "view", NOW - 1_000)]
    inline = [
        event("product_viewed", "i3", ago_ms=5_000),
        event("product_added", "i4", ago_ms=3_000),
        event("order_completed", "i6", "i7", ago_ms=500),
        event("product_list_viewed", "i8"),
    ]
    session = session_of(touches, inline, NOW, kit.catalog())
    assert session.item.tolist() == [3, 4, 5, 6, 7]
    assert session.kind.tolist() == [0, 1, 0, 2, 2]


def test_unknown_items_and_removals_are_not_for_the_sources(kit: Any) -> None:
    touches = [
        kit.Touched("gone", "view", NOW),
        kit.Touched("i2", "remove", NOW),
        kit.Touched("i2", "wish", NOW),
        kit.Touched("", "checkout", NOW),
    ]
    session = session_of(touches, [], NOW, kit.catalog())
    assert session.item.tolist() == [2]
    assert session.kind.tolist() == [1]
    assert session.touched == {2: {"remove", "wish"}}


def test_something_taken_out_of_the_cart_is_no_longer_in_it(kit: Any) -> None:
    touches = [
        kit.Touched("i2", "cart", NOW - 9),
        kit.Touched("i2", "remove", NOW - 8),
        kit.Touched("i3", "remove", NOW - 7),
        kit.Touched("i3", "cart", NOW - 6),
    ]
    session = session_of(
        touches, [event("product_removed", "i3"), event("coupon_applied")], NOW, kit.catalog()
    )
    assert "cart" not in session.touched[2]
    assert "cart" not in session.touched[3]


def test_only_the_newest_touches_are_used(kit: Any) -> None:
    touches = [kit.Touched(f"i{k % 40}", "view", NOW - 1_000 + k) for k in range(500)]
    session = session_of(touches, [], NOW, kit.catalog())
    assert len(session.item) == SESSION_ITEMS
    assert session.item.tolist() == [k % 40 for k in range(450, 500)]


def test_a_touch_from_the_future_is_of_age_zero(kit: Any) -> None:
    session = session_of([kit.Touched("i1", "view", NOW + 60_000)], [], NOW, kit.catalog())
    assert session.age_s.tolist() == [0.0]
