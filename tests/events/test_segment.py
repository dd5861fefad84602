"""What the published clients send, line by line of the contract, as one typed event."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from opportune.errors import InvalidRequest
from opportune.events.envelope import MAX_BATCH_ITEMS, MAX_BODY_BYTES
from opportune.events.event import Event, Line
from opportune.events.rejected import CODES, Rejected
from opportune.events.segment import (
    MAX_DEPTH,
    normalize,
    pixel_body,
    sending_time,
    split_batch,
    split_single,
)

NOW = 1_795_300_000_000  # 2026-11-21T22:26:40Z
TWELVE_SECONDS_AGO = "2026-11-21T22:26:28.000Z"


def read(item: Any, **options: Any) -> Event:
    raw = item if isinstance(item, bytes | dict) else json.dumps(item).encode()
    given: dict[str, Any] = {"kind": None, "source": "web", "received": NOW, **options}
    return normalize(raw, **given)


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "m1", **fields}


def refused(item: Any, **options: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(item, **options)
    assert caught.value.code in CODES
    return caught.value


def test_the_batch_that_the_python_client_sends() -> None:
    body = (
        b'{"batch":[{"integrations":{},"anonymousId":null,"properties":{"product_id":"p1"},'
        b'"timestamp":"2026-11-21T20:46:43.531+00:00","context":{"library":{"name":"analytics-python",'
        b'"version":"2.4.0"}},"userId":"u1","type":"track","event":"Product Viewed","messageId":"id-1"}],'
        b'"sentAt":"2026-11-21T20:46:43.7+00:00","writeKey":"wk1"}'
    )
    batch = split_batch(body)
    sent = 1_795_294_003_700
    assert (len(batch.items), batch.sent_at, batch.write_key, batch.context) == (1, sent, "wk1", None)
    event = read(bytes(batch.items[0]), sent_at=batch.sent_at)
    assert event == Event(
        kind="track",
        name="product_viewed",
        message_id="id-1",
        source="web",
        time=NOW - (3_700 - 3_531),
        received=NOW,
        identifiers=("user_id:u1",),
        lines=(Line("p1"),),
        properties={"product_id": "p1"},
        context={"library": {"name": "analytics-python", "version": "2.4.0"}},
    )


def test_items_stay_raw_so_that_one_wrong_type_spoils_only_itself() -> None:
    batch = split_batch(json.dumps({"batch": [track(), track(userId={"a": 1}), 7, None, "x", [1]]}).encode())
    outcomes = []
    for item in batch.items:
        try:
            outcomes.append(normalize(item, kind=None, source="web", received=NOW).message_id)
        except Rejected as rejected:
            outcomes.append(f"{rejected.code} {rejected.where}")
    assert outcomes == ["m1", "wrong_type $.userId", *["wrong_type $"] * 4]


def test_a_poisoned_item_is_cut_out_of_a_body_that_the_decoder_refuses() -> None:
    good = json.dumps(track()).encode()
    deep = b'{"type":"track","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    nan = good.replace(b'"m1"', b'"m2","properties":{"price":NaN}')
    emoji = good.replace(b'"m1"', b'"m3","properties":{"text":"cut \\ud83d","whole":"\\ud83d\\ude00"}')
    tricky = good.replace(b'"m1"', rb'"m4","properties":{"text":"] } \" , ["}')
    body = (
        b'{"context":{"ip":"1.2.3.4"},"batch": ['
        + b" , ".join([good, deep, nan, emoji, tricky])
        + b' ], "sentAt":"2026-11-21T20:46:43.700Z","writeKey":"wk1"}'
    )
    batch = split_batch(body)
    assert (batch.write_key, batch.sent_at, batch.context) == ("wk1", 1_795_294_003_700, {"ip": "1.2.3.4"})
    assert [bytes(item) for item in batch.items] == [good, deep, nan, emoji, tricky]
    assert read(bytes(batch.items[0])).message_id == "m1"
    assert refused(bytes(batch.items[1])).code == "too_deep"
    assert refused(bytes(batch.items[2])).code == "unreadable"
    assert read(bytes(batch.items[3])).properties == {"text": "cut \ufffd", "whole": "\U0001f600"}
    assert read(bytes(batch.items[4])).properties == {"text": '] } " , ['}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b'{"batch": [',
        b'{"batch": [{"a": 1}',
        b'{"batch": [{"type": "track",]}',
        b'{"batch": [{]}',
        b'{"batch": [{"a": NaN}], "context": {',
        b'{"batch": [{"type": "track"}]} trailing',
        b'{"other": NaN}',
    ],
)
def test_a_body_that_is_not_json_is_refused_whole(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        split_batch(body)
    assert caught.value.code == "invalid_request"
    assert caught.value.remedy == "send a JSON object in UTF-8"


def test_the_message_names_the_position_of_the_fault() -> None:
    with pytest.raises(InvalidRequest, match=r"^JSON is malformed: invalid character \(byte 11\)") as caught:
        split_batch(b'{"batch": [x')
    assert caught.value.where == "$"


@pytest.mark.parametrize(
    ("body", "what", "where"),
    [
        (b'{"batch": {}}', "Expected array, got object", "$.batch"),
        (b'{"batch": null}', "Expected array, got null", "$.batch"),
        (b"{}", "Object missing required field batch", "$"),
        (b"[]", "Expected object, got array", "$"),
        (b"[" * 100_000, "Expected object, got array", "$"),
        (b"null", "Expected object, got null", "$"),
    ],
)
def test_a_body_without_a_list_of_events_says_so(body: bytes, what: str, where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        split_batch(body)
    assert (caught.value.what, caught.value.where) == (what, where)


def test_sizes_are_taken_liberally_up_to_a_stated_limit() -> None:
    assert len(split_batch(b'{"batch":[' + b"{}," * 2_500 + b"{}]}").items) == 2_501
    too_many = b'{"batch":[' + b"1," * MAX_BATCH_ITEMS + b"1]}"
    with pytest.raises(InvalidRequest, match="a batch holds at most 10000 events") as caught:
        split_batch(too_many)
    assert (caught.value.seen, caught.value.where) == (MAX_BATCH_ITEMS + 1, "$.batch")
    with pytest.raises(InvalidRequest, match="the body is larger than 4194304 bytes"):
        split_single(b" " * (MAX_BODY_BYTES + 1))
    megabyte = "x" * 1_000_000
    assert read(track(properties={"text": megabyte})).properties["text"] == megabyte


def test_a_single_event_body_gives_its_key_and_sending_time() -> None:
    body = json.dumps(
        {**track(), "writeKey": "wk1", "sentAt": TWELVE_SECONDS_AGO, "_metadata": {"bundled": []}}
    ).encode()
    batch = split_single(body)
    assert (batch.items, batch.write_key, batch.sent_at) == ([body], "wk1", NOW - 12_000)
    assert split_single(b'{"writeKey": 7, "sentAt": {}}').write_key == ""
    with pytest.raises(InvalidRequest, match="Expected object, got array"):
        split_single(b"[]")
    with pytest.raises(InvalidRequest, match="JSON is malformed"):
        split_single(b"{nope}")
    assert split_single(b'{"writeKey":"wk1","a":"\\ud83d"}').write_key == "wk1"


def test_pixel_data_is_base64_in_either_alphabet_with_or_without_padding() -> None:
    assert pixel_body("eyJhIjoiPz8_Pz8-In0") == b'{"a":"?????>"}'
    assert pixel_body("eyJhIjoiPz8/Pz8+In0=") == b'{"a":"?????>"}'
    with pytest.raises(InvalidRequest, match="the pixel's data is not base64"):
        pixel_body("*")


class TestKinds:
    def test_the_endpoint_wins_over_the_type_in_the_body(self) -> None:
        assert read({"userId": "u1"}, kind="identify").kind == "identify"
        assert read(track(), kind="page").kind == "page"

    def test_without_an_endpoint_the_type_is_needed(self) -> None:
        assert refused({"userId": "u1"}).where == "$.type"
        assert refused({"userId": "u1", "type": None}).code == "missing_field"
        unknown = refused({"userId": "u1", "type": "charge"})
        assert str(unknown) == (
            "no such event type, saw 'charge', at $.type: send track, identify, page, screen, group or alias"
        )
        assert read(track(type=" Track ")).kind == "track"

    def test_everything_but_track_is_named_by_its_kind(self) -> None:
        page = read({"type": "page", "userId": "u1", "name": "Order Completed", "category": "Shop"})
        assert (page.name, page.properties) == ("page", {"name": "Order Completed", "category": "Shop"})
        assert page.value is None
        assert read({"type": "screen", "userId": "u1", "name": "Home"}).properties == {"name": "Home"}
        assert read({"type": "identify", "userId": "u1"}).name == "identify"

    def test_a_page_takes_from_the_context_what_its_properties_do_not_say(self) -> None:
        page = read(
            {
                "type": "page",
                "anonymousId": "a1",
                "properties": {"path": "/own"},
                "context": {"page": {"path": "/p/1", "title": "One", "extra": 1}},
            }
        )
        assert page.properties == {"path": "/own", "title": "One"}

    def test_identify_keeps_traits(self) -> None:
        event = read(
            {"type": "identify", "userId": "u1", "traits": {"email": "Ada@Example.org", "plan": None}}
        )
        assert event.traits == {"email": "Ada@Example.org", "plan": None}
        assert event.identifiers == ("user_id:u1", "email:ada@example.org")

    def test_identify_finds_traits_where_rudderstack_puts_them(self) -> None:
        context = {
            "traits": {"email": "a@b.example", "plan": "free"},
            "externalId": [{"type": "crm", "id": "7"}],
        }
        event = read({"type": "identify", "userId": "u1", "traits": {"plan": "pro"}, "context": context})
        assert event.traits == {"email": "a@b.example", "plan": "pro"}
        assert event.identifiers == ("user_id:u1", "email:a@b.example", "crm:7")

    def test_group_traits_are_the_accounts_and_name_nobody(self) -> None:
        event = read(
            {"type": "group", "userId": "u1", "groupId": 77, "traits": {"email": "info@firm.example"}}
        )
        assert event.traits == {}
        assert event.properties == {"groupId": "77", "traits": {"email": "info@firm.example"}}
        assert event.identifiers == ("user_id:u1", "account:77")
        assert refused({"type": "group", "userId": "u1"}).where == "$.groupId"
        assert refused({"type": "group", "groupId": "g1"}).code == "no_identifier"

    def test_alias_names_both_sides(self) -> None:
        uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
        alias = {"type": "alias", "userId": "u2"}
        assert read({**alias, "previousId": uuid}).identifiers == ("user_id:u2", f"anonymous_id:{uuid}")
        assert read({**alias, "previousId": "u1"}).identifiers == ("user_id:u2", "user_id:u1")
        assert read({**alias, "previousId": "x", "anonymousId": "x"}).identifiers == (
            "user_id:u2",
            "anonymous_id:x",
        )
        assert read({**alias, "previousId": "u1"}).properties == {"previousId": "u1"}
        for nobody in (None, "", "null", "undefined"):
            assert refused({**alias, "previousId": nobody}).where == "$.previousId"

    def test_track_needs_the_name_of_the_event(self) -> None:
        for nothing in (None, "", "  "):
            assert refused(track(event=nothing)).where == "$.event"
        assert refused(track(event=7)).reason == "the name of the event must be text, saw 7"
        assert refused(track(event="x" * 513)).reason == "an event name has at most 512 characters, saw 513"
        assert read(track(event=" Song Played ")).name == "Song Played"

    def test_other_fields_of_the_wrong_type_do_not_matter_where_they_have_no_meaning(self) -> None:
        assert (
            read({"type": "identify", "userId": "u1", "event": 7, "name": {}, "version": []}).name
            == "identify"
        )
        assert read({"type": "page", "userId": "u1", "name": 7}).properties == {}


class TestIdentifiers:
    def test_explicit_nulls_are_absent(self) -> None:
        nulls = dict.fromkeys(
            [
                "anonymousId",
                "messageId",
                "timestamp",
                "sentAt",
                "properties",
                "traits",
                "context",
                "integrations",
            ]
        )
        event = read({"type": "track", "event": "x", "userId": "u1", **nulls})
        assert event.identifiers == ("user_id:u1",)
        assert (event.properties, event.traits, event.context) == ({}, {}, {})
        assert event.time == NOW

    def test_numbers_become_text(self) -> None:
        assert read(track(userId=42)).identifiers == ("user_id:42",)
        assert read(track(userId=42.0)).identifiers == ("user_id:42",)
        assert read(track(userId=0.5)).identifiers == ("user_id:0.5",)
        big = 123456789012345678901234567890
        assert read(track(userId=big)).identifiers == (f"user_id:{big}",)

    @pytest.mark.parametrize("wrong", [True, [1], {"a": 1}])
    def test_anything_else_is_refused_with_its_path(self, wrong: Any) -> None:
        rejected = refused(track(userId=wrong))
        assert (rejected.code, rejected.where) == ("wrong_type", "$.userId")
        assert rejected.reason.startswith("Expected int | float | str | null, got ")

    def test_nobody_is_refused(self) -> None:
        rejected = refused(track(userId=None, anonymousId="anonymous"))
        assert str(rejected) == (
            "nothing in the event names a person, saw 'anonymous', at $.userId: send userId or anonymousId"
        )
        assert refused(track(userId="00000000-0000-0000-0000-000000000000")).code == "no_identifier"

    def test_everything_that_names_the_person_is_promoted_strongest_first(self) -> None:
        event = read(
            track(
                anonymousId="a1",
                context={
                    "traits": {"email": " Ada@Example.org ", "phone": "+44 20 7946 0000"},
                    "device": {"id": "d1", "advertisingId": "ABC", "token": "t1"},
                    "integrations": {"Google Analytics": {"clientId": "1.2"}},
                    "groupId": "g1",
                    "externalIds": [
                        {"id": "9", "type": "Shop:Id", "collection": "users", "encoding": "none"},
                        {"id": "8", "type": "crm", "collection": "users"},
                        {"id": "7", "type": "crm", "collection": "accounts"},
                        {"id": "6", "type": "crm", "encoding": "sha256"},
                        {"id": None, "type": "crm"},
                        {"type": 5},
                        "nonsense",
                    ],
                },
            )
        )
        assert event.identifiers == (
            "user_id:u1",
            "email:ada@example.org",
            "phone:+442079460000",
            "crm:8",
            "shop_id:9",
            "anonymous_id:a1",
            "device_id:d1",
            "push_token:t1",
            "advertising_id:abc",
            "ga_client_id:1.2",
            "account:g1",
        )
        assert event.leaf == "user_id:u1"

    def test_a_device_alone_names_a_person(self) -> None:
        assert read(track(userId=None, context={"device": {"id": "d1"}})).leaf == "device_id:d1"
        assert read({"type": "identify", "traits": {"email": "a@b.example"}}).leaf == "email:a@b.example"


class TestContext:
    def test_batch_context_and_integrations_fill_what_the_item_leaves_out(self) -> None:
        event = read(
            track(context={"ip": "2.2.2.2"}, integrations={"A": False}),
            batch_context={"ip": "1.1.1.1", "locale": "en", "integrations": {"A": True, "B": True}},
        )
        assert event.context == {"ip": "2.2.2.2", "locale": "en", "integrations": {"A": False, "B": True}}

    def test_the_batch_context_is_not_shared_between_events(self) -> None:
        shared: dict[str, Any] = {"locale": "en"}
        first = read(track(timestamp=0), batch_context=shared)
        assert first.context == {"locale": "en", "clock": {"note": "unset", "sent": 0}}
        assert shared == {"locale": "en"}

    def test_integrations_of_the_call_and_of_the_context_are_both_kept(self) -> None:
        event = read(
            track(
                context={"integrations": {"Google Analytics": {"clientId": "1.2"}}},
                integrations={"All": False},
            )
        )
        assert event.context["integrations"] == {"Google Analytics": {"clientId": "1.2"}, "All": False}
        assert read(track(integrations={})).context == {}
        assert read(track(integrations=[1, 2])).context == {}

    def test_session_and_decision_are_found_wherever_they_are_sent(self) -> None:
        assert read(track(properties={"session_id": "s1"})).session_id == "s1"
        assert read(track(properties={"sessionId": 1795})).session_id == "1795"
        assert read(track(context={"sessionId": 1795})).session_id == "1795"
        assert read(track(context={"session_id": {"no": 1}})).session_id == ""
        assert read(track(decision_id="d1")).decision_id == "d1"
        assert read(track(properties={"decision_id": "d1"})).decision_id == "d1"
        assert read(track(context={"decision_id": "d1"})).decision_id == "d1"
        assert read(track(properties={"decision_id": 7})).decision_id == ""

    def test_traits_on_another_call_are_kept_with_the_context(self) -> None:
        event = read(track(traits={"plan": "pro", "a": 1}, context={"traits": {"a": 2}}))
        assert event.traits == {}
        assert event.context == {"traits": {"plan": "pro", "a": 2}}


class TestTime:
    def test_the_clients_clock_error_is_taken_out(self) -> None:
        event = read(track(timestamp="1970-01-01T00:00:10.000Z", sentAt="1970-01-01T00:00:12.500Z"))
        assert event.time == NOW - 2_500
        assert "clock" not in event.context

    def test_the_original_timestamp_wins_and_the_items_sending_time_wins_over_the_batches(self) -> None:
        sent = "2026-11-21T20:00:05Z"
        event = read(
            track(originalTimestamp="2026-11-21T20:00:00Z", timestamp="2020-01-01", sentAt=sent), sent_at=7
        )
        assert event.time == NOW - 5_000

    def test_an_unreadable_sending_time_is_ignored(self) -> None:
        assert read(track(timestamp=NOW - 1_000, sentAt="soon")).time == NOW - 1_000
        assert [sending_time(s) for s in (None, {}, True, "x", "", float("inf"))] == [None] * 6

    def test_a_future_time_becomes_its_arrival_with_a_note(self) -> None:
        event = read(track(timestamp="2100-01-01T00:00:00Z"))
        assert (event.time, event.context) == (
            NOW,
            {"clock": {"note": "future", "sent": "2100-01-01T00:00:00Z"}},
        )
        assert read(track(timestamp=NOW + 60_000)).context == {}

    def test_a_clock_that_was_never_set_counts_as_now_and_old_history_as_history(self) -> None:
        event = read(track(timestamp="1970-01-01T00:00:00Z"))
        assert (event.time, event.context["clock"]["note"]) == (NOW, "unset")
        assert read(track(timestamp="2010-12-01T08:26:00Z")).time == 1_291_191_960_000

    @pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", 1e300, "NaN"])
    def test_an_unreadable_time_is_refused_with_its_path(self, wrong: Any) -> None:
        rejected = refused(track(timestamp=wrong))
        assert (rejected.code, rejected.where) == ("bad_time", "$.timestamp")
        assert refused(track(originalTimestamp=wrong)).where == "$.originalTimestamp"


class TestMessageId:
    def test_without_an_id_the_same_bytes_with_a_time_are_the_same_event(self) -> None:
        item = track(messageId=None, timestamp=NOW - 5)
        first, retry = read(item, received=NOW), read(item, received=NOW + 99)
        assert first.message_id == retry.message_id
        assert len(first.message_id) == len("sha-") + 32
        assert read({**item, "event": "other"}).message_id != first.message_id
        assert read(item, kind="page").message_id != first.message_id

    def test_without_an_id_or_a_time_a_repeat_is_another_event(self) -> None:
        item = track(messageId="")
        ids = {
            read(item).message_id,
            read(item, received=NOW + 1).message_id,
            read(item, position=1).message_id,
        }
        assert len(ids) == 3
        assert read(item).message_id in ids

    def test_a_long_id_is_replaced_by_its_digest_and_kept(self) -> None:
        assert read(track(messageId="x" * 99)).message_id == "x" * 99
        long = read(track(messageId="x" * 100))
        assert len(long.message_id) == 36
        assert long.context == {"message_id": "x" * 100}
        assert read(track(messageId="x" * 100, event="other")).message_id == long.message_id

    def test_a_number_is_an_id(self) -> None:
        assert read(track(messageId=7)).message_id == "7"
        assert refused(track(messageId=[7])).where == "$.messageId"


class TestBadInput:
    def test_invalid_utf8(self) -> None:
        rejected = refused(b'{"type":"track","event":"x","userId":"\xff"}')
        assert (rejected.code, rejected.reason) == ("unreadable", "not UTF-8: byte 0xff")

    def test_a_number_out_of_range(self) -> None:
        rejected = refused(b'{"type":"track","event":"x","userId":"u","properties":{"a":1e999}}')
        assert (rejected.code, rejected.where, rejected.reason) == (
            "wrong_type",
            "$.properties[...]",
            "Number out of range",
        )

    def test_the_last_of_duplicate_keys_stands(self) -> None:
        event = read(b'{"type":"track","event":"a","event":"b","userId":"u","properties":{"x":1,"x":2}}')
        assert (event.name, event.properties) == ("b", {"x": 2})

    def test_nesting_is_bounded_exactly(self) -> None:
        def nested(levels: int) -> bytes:
            inner = b"[" * levels + b"]" * levels
            return b'{"type":"track","event":"x","userId":"u","properties":{"a":' + inner + b"}}"

        # The event and its properties are two of the levels.
        read(nested(MAX_DEPTH - 2))
        rejected = refused(nested(MAX_DEPTH - 1))
        assert (rejected.code, rejected.reason) == ("too_deep", "nested too deep")
        assert rejected.where.startswith("$.properties.a[0][0]")
        for levels in (500, 950, 10_000):
            assert refused(nested(levels)).code == "too_deep"

    def test_whole_numbers_beyond_64_bits_are_kept_as_text(self) -> None:
        sent = {"a": 2**63, "b": [2**63 - 1, {"c": -(2**63) - 1}], "d": -(2**63)}
        event = read(track(properties=sent, context={"n": 10**30}))
        assert event.properties == {
            "a": str(2**63),
            "b": [2**63 - 1, {"c": str(-(2**63) - 1)}],
            "d": -(2**63),
        }
        assert event.context == {"n": "1" + "0" * 30}
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event

    def test_a_callers_dict_takes_the_same_path_as_the_wire(self) -> None:
        assert read(track(properties={"price": float("nan")})).properties == {"price": None}
        rejected = refused(track(properties={"price": object()}))
        assert rejected.reason.startswith("the event cannot be written as JSON: ")
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        assert refused(track(properties=loop)).code == "too_deep"
        assert refused(track(properties={"a": "\ud83d"})).code == "wrong_type"

    def test_what_was_sent_is_kept_known_or_not(self) -> None:
        sent = {"product_id": "p1", "unheard_of": {"a": [1, None, "x"]}, "": ""}
        assert read(track(properties=sent)).properties == sent


def test_an_event_survives_the_journal() -> None:
    event = read(track(properties={"products": [{"product_id": "p1", "price": "9.90", "quantity": 2}]}))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event
    assert event.lines == (Line("p1", 2.0, 9.9),)
