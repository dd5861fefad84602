"""The Segment HTTP tracking dialect: bytes off the wire to :class:`Event`.

Source: Segment HTTP tracking API and the behaviour of its published clients, which send explicit nulls, leave
out what they do not know, and stamp ``sentAt`` on every try. Where the specification leaves a choice open:

- Size is taken liberally: :data:`SOFT_EVENT_BYTES` is for counting, :data:`MAX_EVENT_BYTES` refuses.
- Nesting beyond :data:`MAX_DEPTH` is refused: a journal entry must be writable from any stack depth.
- Whole numbers beyond 64 bits are kept as text, digit for digit; duplicate keys: the last one stands.
- Half a surrogate pair (text cut in the middle of an emoji) becomes U+FFFD.
- A ``messageId`` of 100 characters or more is replaced by its digest and kept in ``context.message_id``.
- Without a ``messageId`` but with a time of its own, the id is a digest of the bytes, so that a retry is a
  duplicate; without either, a repeat cannot be told from a second event, so arrival and position count too.
- ``name`` of everything but ``track`` is its kind: a page called "Order Completed" is no order.
- ``identify`` takes its traits from ``context.traits`` too, where RudderStack's clients put them, and their
  ``context.externalId`` is read as ``context.externalIds``.
- ``group`` traits describe the account and stay in ``properties.traits``; ``traits`` are a person's.
- ``previousId`` of an ``alias`` is an anonymous id when it equals ``anonymousId`` or looks like a UUID (what
  clients generate), else a user id.
- Batch-level ``context`` and ``integrations`` fill what the item leaves out, key by key.
- Non-empty ``integrations`` are kept in ``context.integrations``; ``_metadata`` is dropped.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events import ecommerce, moments
from opportune.events.envelope import Batch, RawItem, pixel_body, sending_time, split_batch, split_single
from opportune.events.event import Event, Line
from opportune.events.identifiers import as_text, tidy
from opportune.events.promotion import identifiers_of
from opportune.events.rejected import (
    BAD_TIME,
    MISSING_FIELD,
    TOO_DEEP,
    TOO_LARGE,
    UNKNOWN_TYPE,
    WRONG_TYPE,
    Rejected,
)
from opportune.events.wire import MAX_DEPTH, Item, decode, time_as_sent

__all__ = [
    "KINDS",
    "MAX_DEPTH",
    "MAX_EVENT_BYTES",
    "SOFT_EVENT_BYTES",
    "Batch",
    "RawItem",
    "normalize",
    "pixel_body",
    "sending_time",
    "split_batch",
    "split_single",
]

SOFT_EVENT_BYTES = 32 * 1024
MAX_EVENT_BYTES = 4 * 1024 * 1024
MESSAGE_ID_CHARS = 100
NAME_CHARS = 512

KINDS = frozenset({"track", "identify", "page", "screen", "group", "alias"})

_encode = msgspec.json.Encoder().encode
_known_name = ecommerce.KNOWN.get


def normalize(
    raw: RawItem | dict[str, Any],
    *,
    kind: str | None,
    source: str,
    received: Millis,
    sent_at: Millis | None = None,
    batch_context: dict[str, Any] | None = None,
    position: int = 0,
) -> Event:
    """One wire event as an :class:`Event`; :class:`Rejected` when it cannot be stored.

    ``kind`` is fixed by a single-event endpoint; None takes the item's ``type``. ``sent_at`` is the batch's
    sending time, used where the item has none. ``batch_context`` is the batch's context, with its
    integrations as ``integrations`` in it. ``position`` is the item's index in its request. O(len(raw)).
    """
    data = _encoded(raw) if isinstance(raw, dict) else bytes(raw)
    if len(data) > MAX_EVENT_BYTES:
        raise Rejected(TOO_LARGE, f"the event is larger than {MAX_EVENT_BYTES} bytes", "$", seen=len(data))
    item = decode(data)
    if kind is None:
        kind = item.type
        if kind is None or kind not in KINDS:
            kind = _kind(kind)
    context: dict[str, Any] = item.context or {}
    if batch_context or item.integrations:
        context = _context(item, batch_context)
    properties = item.properties or {}
    traits: dict[str, Any] = {}
    if kind == "track":
        event = item.event
        found = _known_name(event) if type(event) is str else None
        name = _event_name(event) if found is None else found
    else:
        name = kind
        if kind == "identify":
            traits = item.traits or {}
            if "traits" in context and (elsewhere := _object(context["traits"])):
                traits = {**elsewhere, **traits}
        elif kind == "group":
            properties = _group_properties(item)
        elif kind == "alias":
            properties = {**properties, "previousId": _previous(item)}
        else:
            _describe_page(kind, item, properties, context)
    if item.traits and kind != "identify" and kind != "group":
        context["traits"] = {**item.traits, **(_object(context.get("traits")) or {})}

    identifiers = identifiers_of(kind, item, traits, context)
    time, note = _time(item, sent_at, received)
    if note:
        context["clock"] = {"note": note, "sent": time_as_sent(data)}

    message_id = item.message_id
    if type(message_id) is not str or not 0 < len(message_id) < MESSAGE_ID_CHARS:
        message_id = _message_id(item, data, kind, received, position, context)

    lines: tuple[Line, ...] = ()
    value: float | None = None
    query = ""
    if properties:
        lines = ecommerce.lines_of(name, properties)
        value = ecommerce.value_of(name, properties, lines)
        if name == "products_searched":
            query = ecommerce.query_of(name, properties)
    return Event(
        kind,
        name,
        message_id,
        source,
        time,
        received,
        identifiers,
        _session_id(properties, context),
        lines,
        value,
        query,
        _decision_id(item.decision_id, properties, context),
        properties,
        traits,
        context,
    )


def _encoded(raw: dict[str, Any]) -> bytes:
    """A caller's dict as the bytes that would have come over the wire: one path for both."""
    try:
        return _encode(raw)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        code = TOO_DEEP if isinstance(error, RecursionError) else WRONG_TYPE
        raise Rejected(code, f"the event cannot be written as JSON: {error}") from error


def _context(item: Item, batch_context: dict[str, Any] | None) -> dict[str, Any]:
    """The item's context over the batch's, with the call's integrations in it."""
    context = item.context
    if context is None:
        context = {}
    if batch_context:
        context = {**batch_context, **context}
    if item.integrations and (integrations := _object(item.integrations)):
        known = _object(context.get("integrations"))
        context["integrations"] = {**known, **integrations} if known else integrations
    return context


def _kind(sent: str | None) -> str:
    if sent is None:
        raise Rejected(MISSING_FIELD, "the event has no type", "$.type", remedy=_KINDS_REMEDY)
    if sent in KINDS:
        return sent
    lowered = sent.strip().lower()
    if lowered in KINDS:
        return lowered
    raise Rejected(UNKNOWN_TYPE, "no such event type", "$.type", seen=sent, remedy=_KINDS_REMEDY)


_KINDS_REMEDY = "send track, identify, page, screen, group or alias"


def _event_name(sent: Any) -> str:
    if sent is not None and type(sent) is not str:
        raise Rejected(WRONG_TYPE, "the name of the event must be text", "$.event", seen=sent)
    if not sent or not (name := sent.strip()):
        raise Rejected(MISSING_FIELD, "a track call needs the name of the event", "$.event")
    if len(name) > NAME_CHARS:
        raise Rejected(
            TOO_LARGE, f"an event name has at most {NAME_CHARS} characters", "$.event", seen=len(name)
        )
    return ecommerce.canonical_name(name)


_PAGE_FIELDS = ("path", "referrer", "search", "title", "url")


def _describe_page(kind: str, item: Item, properties: dict[str, Any], context: dict[str, Any]) -> None:
    """Name and category, which the call carries beside its properties, and what the browser knew of the page,
    where the properties do not say."""
    if type(item.name) is str and item.name and "name" not in properties:
        properties["name"] = item.name
    if type(item.category) is str and item.category and "category" not in properties:
        properties["category"] = item.category
    page = context.get("page") if kind == "page" else None
    if type(page) is dict:
        for field in _PAGE_FIELDS:
            if field in page and field not in properties:
                properties[field] = page[field]


def _group_properties(item: Item) -> dict[str, Any]:
    group_id = as_text(item.group_id)
    if not group_id or not tidy("account", group_id):
        raise Rejected(
            MISSING_FIELD, "a group call needs the id of the group", "$.groupId", seen=item.group_id
        )
    properties = {**(item.properties or {}), "groupId": group_id}
    if item.traits:
        properties["traits"] = item.traits
    return properties


def _previous(item: Item) -> str:
    previous = as_text(item.previous_id)
    if not previous or not tidy("user_id", previous):
        raise Rejected(
            MISSING_FIELD, "an alias call needs the previous id", "$.previousId", seen=item.previous_id
        )
    return previous


def _time(item: Item, sent_at: Millis | None, received: Millis) -> tuple[Millis, str]:
    field, occurred = "originalTimestamp", item.original_timestamp
    if occurred is None:
        field, occurred = "timestamp", item.timestamp
        if occurred is None:
            return received, ""
    if item.sent_at is not None:
        own = sending_time(item.sent_at)
        sent_at = sent_at if own is None else own
    if isinstance(occurred, datetime):
        return moments.corrected(moments.instant(occurred), sent_at, received)
    try:
        time = moments.read(occurred)
    except (moments.BadTime, OverflowError) as error:
        raise Rejected(BAD_TIME, str(error), f"$.{field}", remedy="send an ISO 8601 time in UTC") from error
    return moments.corrected(time, sent_at, received)


def _message_id(
    item: Item, data: bytes, kind: str, received: Millis, position: int, context: dict[str, Any]
) -> str:
    """An id for an event that has none, or one too long to keep; see the head of this file."""
    sent = item.message_id
    if sent is not None and sent != "":
        text = str(sent)
        if len(text) < MESSAGE_ID_CHARS:
            return text
        context["message_id"] = text[:1_000]
        return "sha-" + blake2b(text.encode(), digest_size=16).hexdigest()
    digest = blake2b(data, digest_size=16, person=kind.encode()[:16])
    if item.timestamp is None and item.original_timestamp is None:
        digest.update(b"%d %d" % (received, position))
    return "sha-" + digest.hexdigest()


def _session_id(properties: dict[str, Any], context: dict[str, Any]) -> str:
    if "session_id" in properties:
        found = properties["session_id"]
    elif "sessionId" in context:
        found = context["sessionId"]
    elif "sessionId" in properties:
        found = properties["sessionId"]
    elif "session_id" in context:
        found = context["session_id"]
    else:
        return ""
    text = found if type(found) is str else as_text(found)
    return text if text and len(text) <= 256 else ""


def _decision_id(sent: Any, properties: dict[str, Any], context: dict[str, Any]) -> str:
    found = sent
    if not found and "decision_id" in properties:
        found = properties["decision_id"]
    if not found and "decision_id" in context:
        found = context["decision_id"]
    return found if type(found) is str and len(found) <= 256 else ""


def _object(sent: Any) -> dict[str, Any] | None:
    return sent if type(sent) is dict and sent else None
