"""Rows of a catalogue as events about items."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from opportune.events.event import Event, Line
from opportune.events.items import MAX_ITEM_BYTES, item_event
from opportune.events.rejected import Rejected

NOW = 1_795_300_000_000


def read(row: Any) -> Event:
    raw = row if isinstance(row, bytes | dict) else json.dumps(row).encode()
    event = item_event(raw, source="shop", received=NOW)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event
    return event


def test_a_row_becomes_an_event_about_its_item() -> None:
    event = read({"item_id": "22423", "name": "Cakestand", "price": 12.75, "brand": None})
    assert (event.kind, event.name, event.lines, event.identifiers) == ("item", "item", (Line("22423"),), ())
    assert event.properties == {"name": "Cakestand", "price": 12.75, "brand": None}
    assert event.time == event.received == NOW


@pytest.mark.parametrize("field", ["item_id", "product_id", "sku", "id"])
def test_the_id_by_any_name(field: str) -> None:
    assert read({field: 22423}).item_id == "22423"
    assert read({field: " a "}).properties == {}


def test_the_same_content_has_the_same_id_however_it_is_written() -> None:
    first = read({"item_id": "a", "price": 1, "name": "x"})
    assert read({"name": "x", "price": 1, "item_id": "a"}).message_id == first.message_id
    assert read({"item_id": "a", "price": 2, "name": "x"}).message_id != first.message_id
    assert read({"item_id": "a", "messageId": "m1"}).message_id == "m1"


@pytest.mark.parametrize(
    ("sent", "time"),
    [(None, NOW), ("", NOW), (NOW - 7, NOW - 7), (NOW + 7, NOW), ("2010-12-01", 1_291_161_600_000)],
)
def test_an_update_holds_since_its_time_and_never_from_the_future(sent: Any, time: int) -> None:
    assert read({"item_id": "a", "timestamp": sent}).time == time


def test_what_a_journal_cannot_hold_is_tidied_or_refused() -> None:
    assert read({"item_id": "a", "n": 10**20}).properties == {"n": "1" + "0" * 20}
    assert read({"item_id": "a", "n": float("nan")}).properties == {"n": None}
    assert read(b'{"item_id":"a","name":"\\ud83d"}').properties == {"name": "\ufffd"}
    with pytest.raises(Rejected, match="nested too deep"):
        read(b'{"item_id":"a","n":' + b"[" * 200 + b"]" * 200 + b"}")


@pytest.mark.parametrize(
    ("row", "code", "where"),
    [
        ({}, "missing_field", "$.item_id"),
        ({"item_id": " "}, "missing_field", "$.item_id"),
        ({"item_id": True}, "missing_field", "$.item_id"),
        ([], "wrong_type", "$"),
        (b"{nope", "unreadable", "$"),
        (b'{"item_id":"\xff"}', "unreadable", "$"),
        ({"item_id": "a", "timestamp": []}, "wrong_type", "$.timestamp"),
        ({"item_id": "a", "timestamp": "soon"}, "bad_time", "$.timestamp"),
        ({"item_id": "a", "name": "x" * MAX_ITEM_BYTES}, "wrong_type", "$"),
    ],
)
def test_what_cannot_be_used_says_why(row: Any, code: str, where: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(row)
    assert (caught.value.code, caught.value.where) == (code, where)
