"""Inline events: what the page did so far, sent along with a decision request, used for it and not stored.

Two shapes are read: the tracking API's (``type``, ``event``, ``properties``, ``userId`` ...) and a flat one,
``{"event": "product_viewed", "product_id": "SKU-441", "timestamp": "..."}``, where every field that is not
the event's own is a property. A decision must come back whatever it was sent, so an inline event that cannot
be used is left out and named, and an unreadable time is read as now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opportune.clock import Millis
from opportune.events import ecommerce, moments
from opportune.events.event import Event, Identifier
from opportune.events.identifiers import as_text, make, strongest_first
from opportune.events.rejected import MISSING_FIELD, TOO_LARGE, WRONG_TYPE, Rejected

MAX_INLINE = 200
"""Of a longer list the newest (last) are used: a session's beginning says little about its next step."""

SOURCE = "inline"
NAME_CHARS = 512

_OWN_FIELDS = frozenset(
    {
        "type", "event", "name", "properties", "context", "integrations", "timestamp", "originalTimestamp",
        "time", "sentAt", "receivedAt", "messageId", "userId", "user_id", "anonymousId", "anonymous_id",
        "writeKey", "traits", "_metadata",
    }
)  # fmt: skip
_KINDS_WITHOUT_NAME = frozenset({"identify", "page", "screen", "group", "alias"})


def inline_event(
    sent: Any,
    *,
    received: Millis,
    identifiers: tuple[Identifier, ...] = (),
    session_id: str = "",
    source: str = SOURCE,
    position: int = 0,
) -> Event:
    """One inline event; :class:`Rejected` when it is no object or has no name. ``identifiers`` and
    ``session_id`` are the request's, the event's own come on top. About 3 us."""
    if type(sent) is not dict:
        raise Rejected(WRONG_TYPE, f"expected an object, got {_json_type(sent)}")
    kind = sent.get("type")
    kind = kind if type(kind) is str and kind in _KINDS_WITHOUT_NAME else "track"
    name = kind if kind != "track" else _name(sent)
    properties = _properties(sent)
    context = sent.get("context")
    context = context if type(context) is dict else {}
    traits = sent.get("traits")
    message_id = sent.get("messageId")
    lines = ecommerce.lines_of(name, properties)
    return Event(
        kind,
        name,
        message_id if type(message_id) is str and message_id else f"{SOURCE}-{received}-{position}",
        source,
        _time(sent, received),
        received,
        _identifiers(sent, identifiers),
        as_text(properties.get("session_id") or properties.get("sessionId")) or session_id,
        lines,
        ecommerce.value_of(name, properties, lines),
        ecommerce.query_of(name, properties),
        _text(properties.get("decision_id") or context.get("decision_id")),
        properties,
        traits if type(traits) is dict else {},
        context,
    )


def inline_events(
    sent: Sequence[Any],
    *,
    received: Millis,
    identifiers: tuple[Identifier, ...] = (),
    session_id: str = "",
    source: str = SOURCE,
) -> tuple[list[Event], list[str]]:
    """Every usable inline event, oldest first (the order sent among equal times), and one sentence with its
    path for each that was left out. At most :data:`MAX_INLINE` are used."""
    events: list[Event] = []
    left_out: list[str] = []
    first = max(0, len(sent) - MAX_INLINE)
    if first:
        left_out.append(f"$.events[0:{first}]: only the last {MAX_INLINE} inline events are used")
    for position in range(first, len(sent)):
        try:
            event = inline_event(
                sent[position],
                received=received,
                identifiers=identifiers,
                session_id=session_id,
                source=source,
                position=position,
            )
        except Rejected as rejected:
            left_out.append(f"$.events[{position}]{rejected.where[1:]}: {rejected.reason}")
        else:
            events.append(event)
    events.sort(key=_event_time)
    return events, left_out


def _event_time(event: Event) -> Millis:
    return event.time


def _name(sent: dict[str, Any]) -> str:
    name = sent.get("event") or sent.get("name")
    if type(name) is not str or not (name := name.strip()):
        raise Rejected(MISSING_FIELD, "the event has no name", "$.event", remedy='send "event"')
    if len(name) > NAME_CHARS:
        raise Rejected(
            TOO_LARGE, f"an event name has at most {NAME_CHARS} characters", "$.event", seen=len(name)
        )
    return ecommerce.canonical_name(name)


def _properties(sent: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in sent.items() if key not in _OWN_FIELDS}
    nested = sent.get("properties")
    return {**flat, **nested} if type(nested) is dict else flat


def _time(sent: dict[str, Any], received: Millis) -> Millis:
    occurred = sent.get("originalTimestamp") or sent.get("timestamp") or sent.get("time")
    if type(occurred) not in (str, int, float):
        return received
    try:
        return moments.corrected(moments.read(occurred), None, received)[0]
    except (moments.BadTime, OverflowError):
        return received


def _identifiers(sent: dict[str, Any], given: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    own = [
        made
        for kind, camel in (("user_id", "userId"), ("anonymous_id", "anonymousId"))
        if (value := sent.get(camel) or sent.get(kind)) is not None and (made := make(kind, value))
    ]
    return strongest_first((*given, *own)) if own else given


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return {str: "string", bool: "boolean", list: "array"}.get(type(value), "number")
