"""The current visit and its intent."""

from __future__ import annotations

import pytest

from opportune.clock import MINUTE
from opportune.profiles.leaf import CartLine, Search, Touch
from opportune.profiles.session import SessionState, intent, session_state, session_touches

NOW = 1_760_000_000_000


def touch(minutes_ago: float, item: str = "p1", kind: str = "view", session: str = "") -> Touch:
    return Touch(NOW - int(minutes_ago * MINUTE), item, kind, session)


def test_without_ids_a_visit_ends_after_thirty_minutes_of_silence():
    touches = [touch(100, "old"), touch(60, "a"), touch(30, "b"), touch(10, "c")]
    assert [t.item_id for t in session_touches(touches, NOW)] == ["a", "b", "c"]
    assert session_touches(touches, NOW + 21 * MINUTE) == []
    assert [t.item_id for t in session_touches(touches, NOW + 20 * MINUTE)] == ["a", "b", "c"]
    assert session_touches([], NOW) == []


def test_an_explicit_id_holds_a_visit_together_whatever_the_gaps():
    touches = [touch(200, "a", session="s1"), touch(100, "x", session="s2"), touch(5, "b", session="s1")]
    assert [t.item_id for t in session_touches(touches, NOW)] == ["a", "b"]
    assert [t.item_id for t in session_touches(touches, NOW, "s2")] == ["x"]
    assert session_touches(touches, NOW, "s3") == []


def test_touches_without_an_id_belong_to_the_visit_around_them():
    touches = [touch(120, "far"), touch(20, "near"), touch(10, "a", session="s1"), touch(1, "b")]
    assert [t.item_id for t in session_touches(touches, NOW, "s1")] == ["near", "a", "b"]


def test_what_a_visit_adds_up_to():
    touches = [
        touch(20, "a"),
        touch(15, "b"),
        touch(10, "b", "cart"),
        touch(9, "c", "cart"),
        touch(8, "c", "remove"),
    ]
    cart = {
        "b": CartLine(NOW - 10 * MINUTE, 2.0, 2.5),
        "c": CartLine(NOW - 8 * MINUTE, 0.0, 9.0),
        "yesterday": CartLine(NOW - 2_000 * MINUTE, 1.0, 99.0),
        "priceless": CartLine(NOW, 1.0),
    }
    state = session_state(touches, [Search(NOW - 5 * MINUTE, "mug")], cart)
    assert state == SessionState(
        started=NOW - 20 * MINUTE, last=NOW - 5 * MINUTE, dwell_s=15 * 60.0,
        depth=5, views=2, items=3, carts=2, removes=1, buys=0, searches=1,
        cart_value=2 * 2.5, intent="ready_to_buy",
    )  # fmt: skip
    assert session_state([]) == SessionState()


@pytest.mark.parametrize(
    ("touches", "queries", "expected"),
    [
        ([], [], "none"),
        ([touch(3)], [], "browsing"),
        ([touch(3, "a"), touch(2, "b"), touch(1, "c")], [], "browsing"),
        ([touch(3, "a"), touch(2, "b"), touch(1, "a")], [], "comparing"),
        ([touch(3, "a"), touch(2, "a"), touch(1, "a")], [], "browsing"),
        ([touch(3, "a", "cart")], [], "ready_to_buy"),
        ([touch(3, "a", "cart"), touch(2, "a", "remove")], [], "browsing"),
        ([touch(2, "", "checkout")], [], "ready_to_buy"),
        ([touch(3, "a", "cart"), touch(2, "a", "buy")], [], "bought"),
        ([touch(3, "a", "buy"), touch(2, "b", "cart")], [], "ready_to_buy"),
        ([touch(3, "a")], ["red mug sale"], "bargain"),
        ([touch(3, "a")], ["wholesaler"], "browsing"),
        ([touch(3, "a", "cart"), touch(2, "", "coupon")], [], "bargain"),
        ([], ["discount"], "bargain"),
    ],
)
def test_intent(touches, queries, expected):
    assert intent(touches, [Search(NOW, query) for query in queries]) == expected
