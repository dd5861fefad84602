"""The CloudEvents dialect: structured, batched and binary HTTP modes to :class:`Event`.

Source: CloudEvents 1.0.2, JSON event format and HTTP protocol binding. The specification says that ``source``
and ``id`` together name an event; so do we: the message id is made of both.

What an event means is up to its producer, so we read what is commonly done:

- ``data`` that is itself a tracking call (a ``type`` of one, and an id) is read as one.
- Otherwise ``data`` are the properties, and the name is ``type``, or its last part where that is an
  e-commerce event: ``com.example.shop.product_viewed`` is ``product_viewed``.
- The person is in ``userId`` / ``user_id``, ``anonymousId`` / ``anonymous_id``, ``email`` of ``data``, in the
  extension attributes ``userid``, ``anonymousid``, ``email``, ``deviceid``, or in a ``subject`` written as
  ``type:value`` (``user_id:u1``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest
from opportune.events import ecommerce, envelope, moments, segment
from opportune.events.event import Event, Identifier
from opportune.events.identifiers import ORDER, as_text, kind_of, make, parse, strongest_first
from opportune.events.rejected import (
    BAD_TIME,
    MISSING_FIELD,
    NO_IDENTIFIER,
    TOO_LARGE,
    UNREADABLE,
    WRONG_TYPE,
    Rejected,
)
from opportune.events.salvage import is_writable, tidied

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
DIALECT = "cloudevents"

_ATTRIBUTES = frozenset(
    {
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data",
        "data_base64",
    }
)  # fmt: skip
_PERSON_FIELDS = (
    ("user_id", ("userId", "user_id", "userid")),
    ("email", ("email",)),
    ("anonymous_id", ("anonymousId", "anonymous_id", "anonymousid")),
    ("device_id", ("deviceId", "device_id", "deviceid")),
)
_SESSION_FIELDS = ("session_id", "sessionId", "sessionid")
_DECISION_FIELDS = ("decision_id", "decisionId", "decisionid")

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def split_batch(body: bytes) -> list[msgspec.Raw]:
    """The events of an ``application/cloudevents-batch+json`` body, each still bytes.

    Raises :class:`InvalidRequest` when the body is not a JSON list or is over the limits of the tracking API.
    """
    if len(body) > envelope.MAX_BODY_BYTES:
        raise InvalidRequest(
            f"the body is larger than {envelope.MAX_BODY_BYTES} bytes",
            seen=len(body),
            remedy="send smaller batches",
        )
    try:
        items = _decode_list(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(f"not a JSON list of CloudEvents: {error}", where="$") from error
    if len(items) > envelope.MAX_BATCH_ITEMS:
        raise InvalidRequest(
            f"a batch holds at most {envelope.MAX_BATCH_ITEMS} events",
            seen=len(items),
            where="$",
            remedy="send smaller batches",
        )
    return items


def as_structured(headers: Mapping[str, str], body: bytes) -> bytes:
    """A binary-mode request as the structured event that it stands for, so that one path reads both and a
    dead letter can be replayed without its headers. Header names are in lower case.

    ``ce-*`` values are percent-decoded, as the HTTP binding asks. A body that is not JSON becomes
    ``data_base64``.
    """
    event: dict[str, Any] = {
        name[3:]: unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-") and name != "ce-data"
    }
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type:
        event["datacontenttype"] = content_type
    if not body:
        return _encode(event)
    if content_type in ("", "application/json", "text/json") or content_type.endswith("+json"):
        envelope = _encode(event)
        # The data are spliced in unread: broken JSON is refused where every event is, with its reason.
        return envelope[:-1] + (b"," if len(event) else b"") + b'"data":' + body + b"}"
    event["data_base64"] = base64.b64encode(body).decode("ascii")
    return _encode(event)


def normalize(
    raw: msgspec.Raw | bytes | dict[str, Any], *, source: str, received: Millis, position: int = 0
) -> Event:
    """One structured CloudEvent as an :class:`Event`; :class:`Rejected` when it cannot be stored."""
    data = _encode(raw) if isinstance(raw, dict) else bytes(raw)
    if len(data) > segment.MAX_EVENT_BYTES:
        raise Rejected(
            TOO_LARGE, f"the event is larger than {segment.MAX_EVENT_BYTES} bytes", "$", seen=len(data)
        )
    try:
        sent = _decode(data)
    except msgspec.ValidationError as error:
        raise Rejected(WRONG_TYPE, "expected a JSON object", "$") from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Rejected(UNREADABLE, f"not readable JSON: {error}", "$") from error
    if not is_writable(sent.values(), segment.MAX_DEPTH - 1):
        sent = tidied(sent, segment.MAX_DEPTH + 1, "$")
    ce_source, ce_id, ce_type = (_required(sent, name) for name in ("source", "id", "type"))
    version = sent.get("specversion")
    if version not in ("1.0", "0.3"):
        raise Rejected(WRONG_TYPE, "not a CloudEvents version that we read", "$.specversion", seen=version)
    message_id = _message_id(ce_source, ce_id)
    context = _context(sent, ce_source, ce_id, ce_type)
    payload = _payload(sent)
    if _is_call(payload):
        return _tracking_call(payload, message_id, context, source, received, position)
    name = _name(ce_type)
    identifiers = _identifiers(sent, payload)
    lines = ecommerce.lines_of(name, payload)
    return Event(
        "track",
        name,
        message_id,
        source,
        _time(sent, received),
        received,
        identifiers,
        _first_text(payload, sent, _SESSION_FIELDS),
        lines,
        ecommerce.value_of(name, payload, lines),
        ecommerce.query_of(name, payload),
        _first_text(payload, sent, _DECISION_FIELDS),
        payload,
        {},
        context,
    )


def _required(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if type(value) is not str or not value:
        raise Rejected(MISSING_FIELD, f"a CloudEvent needs {name}", f"$.{name}", seen=value)
    if len(value) > 2_048:
        raise Rejected(TOO_LARGE, f"{name} has at most 2048 characters", f"$.{name}", seen=len(value))
    return value


def _message_id(ce_source: str, ce_id: str) -> str:
    both = f"{ce_source}#{ce_id}"
    if len(both) < segment.MESSAGE_ID_CHARS:
        return both
    digest = blake2b(ce_source.encode(), digest_size=16, person=b"cloudevent")
    digest.update(b"\0" + ce_id.encode())
    return "ce-" + digest.hexdigest()


def _context(sent: dict[str, Any], ce_source: str, ce_id: str, ce_type: str) -> dict[str, Any]:
    envelope = {"source": ce_source, "id": ce_id, "type": ce_type}
    if type(sent.get("subject")) is str:
        envelope["subject"] = sent["subject"]
    envelope.update((name, value) for name, value in sent.items() if name not in _ATTRIBUTES)
    return {"cloudevent": envelope}


def _payload(sent: dict[str, Any]) -> dict[str, Any]:
    """``data`` as properties: an object as it is, anything else under ``data``."""
    data = sent.get("data")
    if data is None and type(sent.get("data_base64")) is str:
        encoded = sent["data_base64"]
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Rejected(WRONG_TYPE, "not base64", "$.data_base64", seen=encoded) from error
        try:
            data = _decode(content)
        except (msgspec.DecodeError, RecursionError, ValueError):
            return {"data_base64": encoded}
        return _mapping(tidied(data, segment.MAX_DEPTH, "$.data_base64"))
    if data is None:
        return {}
    return data if type(data) is dict else {"data": data}


def _mapping(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _is_call(payload: dict[str, Any]) -> bool:
    kind = payload.get("type")
    return (
        type(kind) is str
        and kind in segment.KINDS
        and bool(payload.get("userId") or payload.get("anonymousId"))
    )


def _tracking_call(
    payload: dict[str, Any],
    message_id: str,
    context: dict[str, Any],
    source: str,
    received: Millis,
    position: int,
) -> Event:
    call = {**payload, "messageId": message_id}
    try:
        return segment.normalize(
            call, kind=None, source=source, received=received, batch_context=context, position=position
        )
    except Rejected as rejected:
        rejected.where = "$.data" + rejected.where[1:]
        raise


def _name(ce_type: str) -> str:
    name = ecommerce.canonical_name(ce_type)
    if name not in ecommerce.CANONICAL:
        last = ecommerce.canonical_name(ce_type.rpartition(".")[2])
        if last in ecommerce.CANONICAL:
            return last
    return name


def _identifiers(sent: dict[str, Any], payload: dict[str, Any]) -> tuple[Identifier, ...]:
    found = [
        make(kind, holder[field])
        for holder in (payload, sent)
        for kind, fields in _PERSON_FIELDS
        for field in fields
        if field in holder
    ]
    subject = sent.get("subject")
    if type(subject) is str and kind_of(subject) in ORDER:
        found.append(parse(subject))
    identifiers = strongest_first(found)
    if not identifiers:
        raise Rejected(
            NO_IDENTIFIER,
            "nothing in the event names a person",
            "$.data.userId",
            remedy="send userId or anonymousId in data, or a subject such as user_id:u1",
        )
    return identifiers


def _first_text(payload: dict[str, Any], sent: dict[str, Any], fields: tuple[str, ...]) -> str:
    for holder in (payload, sent):
        for field in fields:
            text = as_text(holder.get(field))
            if text and len(text) <= 256:
                return text
    return ""


def _time(sent: dict[str, Any], received: Millis) -> Millis:
    occurred = sent.get("time")
    if occurred is None:
        return received
    if type(occurred) is not str:
        raise Rejected(BAD_TIME, "time must be RFC 3339 text", "$.time", seen=occurred)
    try:
        return moments.corrected(moments.read(occurred), None, received)[0]
    except (moments.BadTime, OverflowError) as error:
        raise Rejected(BAD_TIME, str(error), "$.time", remedy="send RFC 3339 text") from error
