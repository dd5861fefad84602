"""CloudEvents 1.0 in its three HTTP modes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from opportune.errors import InvalidRequest
from opportune.events.cloudevents import as_structured, normalize, split_batch
from opportune.events.event import Event, Line
from opportune.events.rejected import Rejected

NOW = 1_795_300_000_000


def cloud(**attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "com.example.shop.product_viewed",
        "data": {"userId": "u1", "product_id": "p1"},
        **attributes,
    }


def read(sent: Any) -> Event:
    raw = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return normalize(raw, source="web", received=NOW)


def test_a_structured_event() -> None:
    event = read(cloud(time="2026-11-21T20:46:43.531Z", subject="cart", partitionkey="7"))
    assert event == Event(
        kind="track",
        name="product_viewed",
        message_id="/shop#1",
        source="web",
        time=1_795_294_003_531,
        received=NOW,
        identifiers=("user_id:u1",),
        lines=(Line("p1"),),
        properties={"userId": "u1", "product_id": "p1"},
        context={
            "cloudevent": {
                "source": "/shop",
                "id": "1",
                "type": "com.example.shop.product_viewed",
                "subject": "cart",
                "partitionkey": "7",
            }
        },
    )


def test_source_and_id_together_name_the_event() -> None:
    assert read(cloud(id="2")).message_id != read(cloud()).message_id
    assert read(cloud(source="/other")).message_id != read(cloud()).message_id
    long = read(cloud(source="/" + "x" * 99))
    assert long.message_id.startswith("ce-")
    assert len(long.message_id) == len("ce-") + 32
    assert long.message_id == read(cloud(source="/" + "x" * 99, type="other", subject="s")).message_id
    # A separator inside the parts must not make two events one.
    far = "y" * 100
    assert (
        read(cloud(source=f"a{far}", id="b")).message_id != read(cloud(source="a", id=f"{far}b")).message_id
    )


def test_a_type_of_no_vocabulary_is_the_name() -> None:
    assert read(cloud(type="com.example.song.played")).name == "com.example.song.played"
    assert read(cloud(type="Order Completed")).name == "order_completed"


@pytest.mark.parametrize(
    ("attributes", "identifiers"),
    [
        ({"data": {"anonymous_id": "a1", "email": "A@b.example"}}, ("email:a@b.example", "anonymous_id:a1")),
        ({"data": None, "userid": "u2", "deviceid": "d1"}, ("user_id:u2", "device_id:d1")),
        ({"data": [1], "subject": "user_id:u3"}, ("user_id:u3",)),
    ],
)
def test_the_person_is_found_in_data_extensions_and_subject(
    attributes: dict[str, Any], identifiers: tuple[str, ...]
) -> None:
    assert read(cloud(**attributes)).identifiers == identifiers


def test_data_that_is_a_tracking_call_is_read_as_one() -> None:
    call = {"type": "identify", "userId": "u1", "traits": {"plan": "pro"}, "messageId": "ignored"}
    event = read(cloud(data=call))
    assert (event.kind, event.traits, event.message_id) == ("identify", {"plan": "pro"}, "/shop#1")
    assert event.context["cloudevent"]["id"] == "1"
    with pytest.raises(Rejected) as caught:
        read(cloud(data={"type": "track", "userId": "u1"}))
    assert caught.value.where == "$.data.event"


def test_data_of_any_kind_is_kept() -> None:
    assert read(cloud(data="text", userid="u1")).properties == {"data": "text"}
    assert read(cloud(data={"type": ["track"], "userId": "u1"})).properties == {
        "type": ["track"],
        "userId": "u1",
    }
    encoded = base64.b64encode(b'{"userId": "u1", "product_id": "p9"}').decode()
    sent = cloud(data_base64=encoded)
    del sent["data"]
    assert read(sent).item_id == "p9"
    sent["data_base64"] = base64.b64encode(b"\xff").decode()
    assert read({**sent, "userid": "u1"}).properties == {"data_base64": "/w=="}
    with pytest.raises(Rejected, match="not base64"):
        read({**sent, "data_base64": "*"})


@pytest.mark.parametrize(
    ("sent", "code", "where"),
    [
        (cloud(id=None), "missing_field", "$.id"),
        (cloud(id=""), "missing_field", "$.id"),
        (cloud(source=7), "missing_field", "$.source"),
        (cloud(type="x" * 2_049), "too_large", "$.type"),
        (cloud(specversion="2.0"), "wrong_type", "$.specversion"),
        (cloud(time="soon"), "bad_time", "$.time"),
        (cloud(time=7), "bad_time", "$.time"),
        (cloud(data={}), "no_identifier", "$.data.userId"),
        ([], "wrong_type", "$"),
        (b"{nope", "unreadable", "$"),
        (b'{"id":"\xff"}', "unreadable", "$"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "unreadable", "$"),
    ],
)
def test_what_cannot_be_stored_says_why(sent: Any, code: str, where: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(sent)
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_batch_keeps_its_items_apart() -> None:
    items = split_batch(json.dumps([cloud(), 7, cloud(id="2")]).encode())
    assert [read(bytes(items[0])).message_id, read(bytes(items[2])).message_id] == ["/shop#1", "/shop#2"]
    with pytest.raises(Rejected, match="expected a JSON object"):
        read(bytes(items[1]))
    with pytest.raises(
        InvalidRequest, match="not a JSON list of CloudEvents: Expected `array`, got `object`"
    ):
        split_batch(b"{}")


class TestBinary:
    HEADERS = {  # noqa: RUF012  # a constant of the tests, never changed
        "content-type": "application/json; charset=utf-8",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/shop",
        "ce-type": "product_viewed",
        "ce-subject": "Euro%20%E2%82%AC",
        "host": "shop.example",
    }

    def test_attributes_are_headers_and_the_body_is_the_data(self) -> None:
        raw = as_structured(self.HEADERS, b'{"userId":"u1","product_id":"p1"}')
        event = read(raw)
        assert (event.name, event.item_id, event.message_id) == ("product_viewed", "p1", "/shop#1")
        assert event.context["cloudevent"]["subject"] == "Euro €"
        assert "host" not in event.context["cloudevent"]

    def test_a_body_of_another_type_travels_as_base64(self) -> None:
        headers = {**self.HEADERS, "content-type": "text/plain", "ce-userid": "u1"}
        assert read(as_structured(headers, b"hello")).properties == {"data_base64": "aGVsbG8="}
        assert read(as_structured(headers, b"")).properties == {}

    def test_broken_json_is_refused_with_its_reason(self) -> None:
        with pytest.raises(Rejected, match="not readable JSON"):
            read(as_structured(self.HEADERS, b"{nope"))
        # A body cannot smuggle attributes past its braces.
        with pytest.raises(Rejected, match="not readable JSON"):
            read(as_structured(self.HEADERS, b'{}} , {"id":"2"'))
