"""What is remembered of earlier visits: counted by hand, bounded, and the same however it came about."""

from __future__ import annotations

import pytest

from opportune.clock import DAY, HOUR, MINUTE
from opportune.profiles.history import AGAINST, BUY, CART, MAX_HISTORY, VIEW, history_before
from opportune.profiles.leaf import Touch
from opportune.profiles.leaf_fold import LeafFold
from opportune.profiles.schema import ProfileSchema
from opportune.testing.folds import END, FoldCase, check_fold, shop_events

NOW = 1_790_000_000_000


def test_items_of_earlier_visits_are_counted():
    first, second, present = NOW - 3 * DAY, NOW - 2 * HOUR, NOW - 5 * MINUTE
    touches = [
        Touch(first, "cup", "view"),
        Touch(first + MINUTE, "pot", "view"),
        Touch(first + 29 * MINUTE, "cup", "cart"),
        Touch(second, "cup", "view"),
        Touch(second + 1, "", "checkout"),
        Touch(second + MINUTE, "pan", "wish"),
        Touch(present, "lid", "view"),
    ]
    found = history_before(touches, {"jar": first - DAY}, {"pot": second}, present)
    assert found == {
        "item": ["cup", "pot", "jar"],
        "kind": [CART, AGAINST, BUY],
        "touches": [3, 1, 0],
        "visits": [2, 1, 0],
        "ago": [1, 2, 0],
        "last": [second, second, first - DAY],
        "bought": [0, 0, first - DAY],
    }


def test_explicit_session_ids_part_visits():
    at = NOW - HOUR
    touches = [Touch(at, "a", "view", "s1"), Touch(at + 1, "b", "view", "s2"), Touch(at + 2, "c", "view")]
    found = history_before(touches, {}, {}, NOW)
    assert dict(zip(found["item"], found["ago"], strict=True)) == {"c": 1, "b": 2, "a": 3}
    again = history_before([touches[0], Touch(NOW - 1, "b", "view", "s1")], {}, {}, NOW)
    assert again["ago"] == [1, 1]  # one visit, however long it took


def test_what_came_since_is_no_history():
    touches = [Touch(NOW, "a", "view"), Touch(NOW + 1, "b", "view")]
    assert history_before(touches, {"a": NOW}, {"b": NOW}, NOW) == {}
    assert history_before(touches, {"a": NOW}, {"b": NOW}, NOW + 1)["item"] == ["a", "b"]


def test_the_newest_items_stay():
    many = {f"p{n:03}": NOW - n for n in range(1, 400)}
    assert history_before([], many, {}, NOW)["item"] == [f"p{n:03}" for n in range(1, MAX_HISTORY + 1)]
    views = [Touch(NOW - 100 + n, f"v{n:02}", "view") for n in range(60)]  # 100 to 41 ms ago
    mixed = history_before(views, many, {}, NOW)
    # the purchases of 1 to 40 ms ago, then a purchase and a view of each ms
    assert len(mixed["item"]) == MAX_HISTORY
    assert mixed["kind"].count(VIEW) == (MAX_HISTORY - 40) // 2


class HistoryFold(LeafFold):
    """The leaf, read as history: what the person's own model and rankers are given."""

    def read(self, state, now):
        return history_before(state.touches, state.bought, state.dismissed, now)


@pytest.mark.parametrize("now", [END, END - 60 * DAY])
def test_history_keeps_the_laws_of_folds(now):
    schema = ProfileSchema(())
    events = shop_events(identifiers=(("anonymous_id:a1",), ("user_id:u1", "anonymous_id:a1")))
    check_fold(
        FoldCase(HistoryFold(schema), events, now, schema.encode, schema.encode, schema.decode, examples=20)
    )
