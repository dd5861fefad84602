"""Shapes on the wire that exist only for the OpenAPI document: hot routes never decode into them."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.events.verdicts import Verdict


class TrackingEvent(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One Segment-style call. It needs ``userId`` or ``anonymousId``; a track call needs ``event``."""

    type: str = ""
    event: str = ""
    name: str = ""
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str = ""
    group_id: str = ""
    message_id: str = ""
    timestamp: str = ""
    sent_at: str = ""
    write_key: str = ""
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    integrations: dict[str, Any] = {}


class Batch(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Events with what they share; ``context`` is merged into each."""

    batch: list[TrackingEvent]
    sent_at: str = ""
    write_key: str = ""
    context: dict[str, Any] = {}
    integrations: dict[str, Any] = {}


class CatalogItem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One item of the catalogue; any other field is an attribute of it, and ``null`` withdraws one.
    ``timestamp`` says since when it holds (default: arrival)."""

    item_id: str
    name: str = ""
    price: float = 0.0
    category: str = ""
    brand: str = ""
    in_stock: bool = True
    image_url: str = ""
    url: str = ""
    timestamp: str = ""


class Items(msgspec.Struct, kw_only=True):
    """Items of the catalogue, up to 10,000."""

    batch: list[CatalogItem]


class CloudEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """CloudEvents 1.0, structured mode; events are told apart by ``source`` and ``id``."""

    specversion: str
    id: str
    source: str
    type: str
    time: str = ""
    subject: str = ""
    datacontenttype: str = ""
    data: Any = None


class Tracked(msgspec.Struct, omit_defaults=True):
    """The counts and verdicts are there when asked for with ``?verdicts=true``."""

    success: bool
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    suppressed: int = 0
    filtered: int = 0
    verdicts: list[Verdict] = []


class Replayed(msgspec.Struct):
    success: bool
    verdicts: list[Verdict]


class DeadLetters(msgspec.Struct):
    letters: list[dict[str, Any]]
    cursor: dict[str, Any]
    summary: dict[str, Any]


class Fix(msgspec.Struct, omit_defaults=True):
    """The corrected event: as JSON, as text, or as base64. None of them replays the letter as it came."""

    event: dict[str, Any] | None = None
    raw: str = ""
    raw_base64: str = ""


class Health(msgspec.Struct):
    status: str
    version: str


class Readiness(msgspec.Struct, omit_defaults=True):
    ready: bool
    queued_events: int
    reason: str = ""


class SegmentSettings(msgspec.Struct):
    integrations: dict[str, dict[str, Any]]


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """Every refusal has this shape: what was wrong, the value seen, where, and what to do."""

    code: str
    message: str
    seen: Any = None
    where: str = ""
    remedy: str = ""
