"""Inline events of a decision request: both shapes, and never a failed decision."""

from __future__ import annotations

from typing import Any

import pytest

from opportune.events.event import Line
from opportune.events.inline import MAX_INLINE, inline_event, inline_events
from opportune.events.rejected import Rejected

NOW = 1_795_300_000_000


def test_the_flat_shape_of_the_contract() -> None:
    sent = [
        {"event": "product_viewed", "product_id": "SKU-441", "timestamp": NOW - 2_000},
        {"event": "filter_applied", "attribute": "size", "value": "10", "timestamp": NOW - 1_000},
    ]
    events, left_out = inline_events(
        sent, received=NOW, identifiers=("anonymous_id:a1",), session_id="abc123"
    )
    assert left_out == []
    viewed, filtered = events
    assert (viewed.name, viewed.lines, viewed.time) == ("product_viewed", (Line("SKU-441"),), NOW - 2_000)
    assert viewed.properties == {"product_id": "SKU-441"}
    assert (viewed.identifiers, viewed.session_id, viewed.source) == (
        ("anonymous_id:a1",),
        "abc123",
        "inline",
    )
    assert (filtered.name, filtered.properties) == (
        "product_list_filtered",
        {"attribute": "size", "value": "10"},
    )
    assert filtered.value is None


def test_the_tracking_shape() -> None:
    event = inline_event(
        {
            "type": "track",
            "event": "Products Searched",
            "userId": "u1",
            "properties": {"query": "boots", "session_id": 7},
            "context": {"decision_id": "d1"},
            "messageId": "m1",
        },
        received=NOW,
        identifiers=("anonymous_id:a1",),
    )
    assert (event.name, event.query, event.message_id, event.decision_id) == (
        "products_searched",
        "boots",
        "m1",
        "d1",
    )
    assert event.identifiers == ("user_id:u1", "anonymous_id:a1")
    assert event.session_id == "7"


def test_calls_without_a_name_are_named_by_their_kind() -> None:
    event = inline_event({"type": "page", "name": "Home", "properties": {"path": "/"}}, received=NOW)
    assert (event.kind, event.name, event.properties) == ("page", "page", {"path": "/"})


@pytest.mark.parametrize("kind", [None, [], {}, 7, "charge"])
def test_a_kind_that_cannot_be_is_track(kind: Any) -> None:
    assert inline_event({"type": kind, "event": "x"}, received=NOW).kind == "track"


@pytest.mark.parametrize("wrong", [None, "soon", {}, [], True, "", "2100-01-01"])
def test_a_time_that_cannot_be_is_now(wrong: Any) -> None:
    assert inline_event({"event": "x", "timestamp": wrong}, received=NOW).time == NOW


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (None, "$.events[1]: expected an object, got null"),
        ("x", "$.events[1]: expected an object, got string"),
        (7, "$.events[1]: expected an object, got number"),
        ({}, "$.events[1].event: the event has no name"),
        ({"event": 7}, "$.events[1].event: the event has no name"),
        ({"event": "x" * 513}, "$.events[1].event: an event name has at most 512 characters, saw 513"),
    ],
)
def test_an_unusable_event_is_left_out_and_named(sent: Any, text: str) -> None:
    events, left_out = inline_events([{"event": "a"}, sent, {"event": "b"}], received=NOW)
    assert [event.name for event in events] == ["a", "b"]
    assert left_out == [text]
    with pytest.raises(Rejected):
        inline_event(sent, received=NOW)


def test_oldest_first_and_the_order_sent_among_equals() -> None:
    sent = [
        {"event": "b", "timestamp": NOW - 1},
        {"event": "a", "timestamp": NOW - 2},
        {"event": "c"},
        {"event": "d"},
    ]
    assert [event.name for event in inline_events(sent, received=NOW)[0]] == ["a", "b", "c", "d"]


def test_only_the_newest_of_a_long_list_are_used() -> None:
    events, left_out = inline_events([{"event": str(i)} for i in range(MAX_INLINE + 3)], received=NOW)
    assert (len(events), events[0].name) == (MAX_INLINE, "3")
    assert left_out == ["$.events[0:3]: only the last 200 inline events are used"]
