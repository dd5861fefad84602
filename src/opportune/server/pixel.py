"""Capture by image address, for places without scripts (e-mail, AMP)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from opportune.server.call import NO_STORE, Call, Reply, encode_json
from opportune.server.envelope import Envelope
from opportune.server.ingest import authorize, shared_context
from opportune.server.refusals import UnreadableJson
from opportune.server.service import Service

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


async def track(service: Service, call: Call) -> Reply:
    return await _pixel(service, call, "track")


async def page(service: Service, call: Call) -> Reply:
    return await _pixel(service, call, "page")


async def _pixel(service: Service, call: Call, kind: str) -> Reply:
    received = service.clock()
    event = event_of(call.query())
    write_key = event.pop("writeKey", "")
    authorize(service, call, write_key if isinstance(write_key, str) else "")
    await service.writer.ingest(
        (encode_json(event),),
        kind=kind,
        dialect="segment",
        source=service.keys.source,
        received=received,
        sent_at=None,
        context=shared_context(call, Envelope((), "", None, None)),
    )
    return Reply(200, GIF, ((b"content-type", b"image/gif"), NO_STORE))


def event_of(query: dict[str, str]) -> dict[str, Any]:
    """``data`` is base64 of the whole event; otherwise parameters are fields, dots reach inside
    (``properties.product_id=p1``), and a value that is a JSON object is one.

    >>> event_of({"userId": "u1", "properties.price": "5"})
    {'userId': 'u1', 'properties': {'price': '5'}}
    """
    packed = query.get("data", "")
    if packed:
        return _unpack(packed)
    event: dict[str, Any] = {}
    for name, text in query.items():
        value = _object_or_text(text)
        first, dot, rest = name.partition(".")
        if dot and first in ("properties", "context", "traits"):
            inner = event.setdefault(first, {})
            if isinstance(inner, dict):
                inner[rest] = value
        else:
            event[name] = value
    return event


def _object_or_text(text: str) -> Any:
    if text[:1] != "{":
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text


def _unpack(packed: str) -> dict[str, Any]:
    padded = packed.replace(" ", "+").replace("-", "+").replace("_", "/") + "=" * (-len(packed) % 4)
    try:
        value = msgspec.json.decode(base64.b64decode(padded))
    except (binascii.Error, msgspec.DecodeError, RecursionError, ValueError) as error:
        raise UnreadableJson(
            "data is not base64 of a JSON object", where="?data", remedy="encode the event as base64 JSON"
        ) from error
    if not isinstance(value, dict):
        raise UnreadableJson("data is not a JSON object", where="?data", remedy="encode one event")
    return value
