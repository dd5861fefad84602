"""Whatever comes over the wire, the only error is the one that becomes a dead letter."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opportune.errors import InvalidRequest
from opportune.events import cloudevents, segment, wire
from opportune.events.event import Event
from opportune.events.inline import inline_events
from opportune.events.rejected import CODES, Rejected
from opportune.events.salvage import mend
from opportune.events.segment import normalize, split_batch, split_single

NOW = 1_795_300_000_000

# The first draw of any text builds hypothesis's Unicode tables, which takes seconds on a cold cache.
fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["u1", "null", "2026-11-21T20:46:43.531Z", "12.50", "-1", "\ud83d", "Order Completed", "0"]
    ),
)
FIELDS = [
    "type", "event", "userId", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt",
    "properties", "traits", "context", "integrations", "previousId", "groupId", "name", "category",
    "decision_id", "batch", "id", "source", "specversion", "data", "data_base64", "time", "subject",
]  # fmt: skip
INNER = [
    "products", "items", "product_id", "item_id", "sku", "quantity", "price", "total", "value", "revenue",
    "query", "position", "category", "email", "phone", "device", "externalIds", "session_id", "page",
    "integrations",
]  # fmt: skip
fields = st.sampled_from(FIELDS + INNER)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6) | fields, inner, max_size=4)
    ),
    max_leaves=5,
)
inner_object = st.dictionaries(st.sampled_from(INNER), anything, max_size=4)
shaped = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["track", "page", "identify", "group", "alias", "screen"]),
        "userId": st.sampled_from(["u1", 7, None]),
    },
    optional={
        "event": st.sampled_from(
            ["Product Viewed", "Order Completed", "order_refunded", "Products Searched"]
        ),
        "properties": inner_object,
        "context": inner_object,
        "traits": inner_object,
        "groupId": scalars,
        "previousId": scalars,
    },
)
events = st.tuples(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4), shaped).map(
    lambda drawn: {**drawn[0], **drawn[1]}
)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def attempt(raw: bytes, kind: str | None) -> Event | Rejected:
    try:
        return normalize(raw, kind=kind, source="web", received=NOW, sent_at=NOW - 1_000)
    except Rejected as rejected:
        return rejected


def is_readable(raw: bytes) -> bool:
    try:
        msgspec.json.decode(mend(raw), type=msgspec.Raw)
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def check(event: Event) -> None:
    """What every stage after this one relies on."""
    assert event.identifiers
    assert all(":" in i and i.partition(":")[2] for i in event.identifiers)
    assert 0 < len(event.message_id) < 100
    assert event.time <= event.received
    assert event.name
    assert all(line.item_id and line.quantity >= 0 for line in event.lines)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event


@fuzz
@given(events, st.sampled_from([None, "track", "page", "identify", "group", "alias", "screen"]))
def test_any_event_is_stored_or_refused(item: dict[str, Any], kind: str | None) -> None:
    outcome = attempt(as_json(item), kind)
    if isinstance(outcome, Event):
        check(outcome)
        assert attempt(as_json(item), kind) == outcome
    else:
        assert outcome.code in CODES
        assert outcome.where.startswith("$")
        assert outcome.reason


@fuzz
@given(events)
def test_the_fast_decoder_and_the_liberal_one_agree(item: dict[str, Any]) -> None:
    outcomes = []
    for decoder in (wire.decode, wire.decode_loosely):
        with mock.patch.object(segment, "decode", decoder):
            outcome = attempt(as_json(item), None)
        outcomes.append(
            outcome if isinstance(outcome, Event) else (outcome.code, outcome.where, outcome.reason)
        )
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-21T20:46:43.531Z",
        "2026-11-21T20:46:43.531",
        "2026-11-21 20:46:43+05:30",
        "1969-12-31T23:59:59.999Z",
        "2026-11-21T20:46:43.1Z",
        "2100-01-01T00:00:00Z",
    ],
)
def test_both_decoders_read_the_same_time(time: str) -> None:
    item = as_json({"type": "track", "event": "x", "userId": "u1", "timestamp": time, "sentAt": time})
    assert isinstance(wire.decode(item), wire.PlainItem)
    events = []
    for decoder in (wire.decode, wire.decode_loosely):
        with mock.patch.object(segment, "decode", decoder):
            events.append(normalize(item, kind=None, source="web", received=NOW))
    assert events[0] == events[1]


@fuzz
@given(anything)
def test_any_json_is_stored_or_refused(value: Any) -> None:
    with contextlib.suppress(Rejected):
        check(normalize(as_json(value), kind=None, source="web", received=NOW))


@fuzz
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0d8NaN"batch', max_size=80).map(str.encode))
def test_any_bytes_are_taken_apart_or_refused(body: bytes) -> None:
    for split in (split_batch, split_single, cloudevents.split_batch):
        with contextlib.suppress(InvalidRequest):
            split(body)
    with contextlib.suppress(Rejected):
        normalize(body, kind=None, source="web", received=NOW)
    with contextlib.suppress(Rejected):
        cloudevents.normalize(body, source="web", received=NOW)


@fuzz
@given(st.lists(anything, max_size=5))
def test_a_batch_comes_apart_into_exactly_its_items(items: list[Any]) -> None:
    body = as_json({"writeKey": "wk1", "batch": items, "sentAt": None})
    if items and not any(is_readable(as_json(item)) for item in items):
        with pytest.raises(InvalidRequest):
            split_batch(body)
        return
    batch = split_batch(body)
    assert batch.write_key == "wk1"
    assert [json.dumps(json.loads(bytes(item))) for item in batch.items] == [json.dumps(i) for i in items]


@fuzz
@given(events, anything)
def test_any_cloudevent_is_stored_or_refused(envelope: dict[str, Any], data: Any) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "t", **envelope, "data": data}
    with contextlib.suppress(Rejected):
        check(cloudevents.normalize(as_json(event), source="web", received=NOW))


@fuzz
@given(st.lists(anything | events, max_size=4))
def test_any_inline_events_give_an_answer(sent: list[Any]) -> None:
    usable, left_out = inline_events(sent, received=NOW)
    assert len(usable) + len(left_out) == len(sent)
    assert [event.time for event in usable] == sorted(event.time for event in usable)


@fuzz
@given(st.text(alphabet=st.characters(min_codepoint=0xD7F0, max_codepoint=0xE00F), max_size=8))
def test_mending_leaves_whole_pairs_and_replaces_halves(text: str) -> None:
    escaped = json.dumps({"t": text}).encode()
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert msgspec.json.decode(mend(escaped))["t"] == expected
