"""Capture by image address, for places without scripts (e-mail, AMP)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from opportune.events.segment import pixel_body, split_single
from opportune.server.call import NO_STORE, Call, Reply, encode_json
from opportune.server.ingest import may_write, post
from opportune.server.pending import Pending
from opportune.server.service import Service

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
SEEN = Reply(200, GIF, ((b"content-type", b"image/gif"), NO_STORE))


def track(service: Service, call: Call) -> Pending[Reply]:
    return _pixel(service, call, "track")


def page(service: Service, call: Call) -> Pending[Reply]:
    return _pixel(service, call, "page")


def _pixel(service: Service, call: Call, kind: str) -> Pending[Reply]:
    received = service.clock()
    query = call.query()
    packed = query.get("data", "")
    batch = split_single(pixel_body(packed) if packed else encode_json(event_of(query)))
    # All of it stands in the address, and addresses end up in logs: only a public key may.
    given = service.keys.grant(batch.write_key) if batch.write_key else None
    grant = may_write(service, call, batch.write_key if given and given.is_public else "")
    stored = post(service, call, batch, kind=kind, dialect="segment", received=received, grant=grant)
    return stored.map(lambda _: SEEN)


def event_of(query: dict[str, str]) -> dict[str, Any]:
    """Parameters as an event's fields: dots reach inside (``properties.product_id=p1``), and a value that is
    a JSON object is one.

    >>> event_of({"userId": "u1", "properties.price": "5"})
    {'userId': 'u1', 'properties': {'price': '5'}}
    """
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
