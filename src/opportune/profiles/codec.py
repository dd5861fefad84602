"""A leaf as bytes: the same state, the same bytes.

One msgpack array. Maps are sorted, touches are written as columns with times as differences and session ids
once, and the layout (four bytes per feature) travels along so that a changed definition is noticed.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.errors import Corrupt
from opportune.events.event import Identifier
from opportune.identity.links import Evidence
from opportune.profiles.consent.record import Consent
from opportune.profiles.exposed import Exposed
from opportune.profiles.leaf import (
    TOUCH_KINDS,
    CartLine,
    Claims,
    Exposure,
    Leaf,
    Rectified,
    Search,
    Touch,
    Trait,
)

FORMAT = 1

_KIND_NUMBER: dict[str, int] = {kind: number for number, kind in enumerate(TOUCH_KINDS)}


class Touches(msgspec.Struct, array_like=True, gc=False):
    """Touches as columns: the first time and the differences, item ids, kinds, indices into ``sessions``."""

    start: Millis
    gaps: list[int]
    items: list[str]
    kinds: bytes
    session: bytes
    sessions: list[str]


class Packed(msgspec.Struct, array_like=True):
    """The record as it is stored."""

    format: int
    layout: bytes
    offset: int
    first_seen: Millis
    newest: Millis
    life: list[Any]
    rows: list[tuple[int, list[Any]]]
    names: dict[str, int]
    touches: Touches | None
    bought: dict[str, Millis]
    cart: dict[str, CartLine]
    dismissed: dict[str, Millis]
    searches: list[Search]
    exposures: list[Exposure]
    traits: dict[str, Trait]
    links: dict[Identifier, Evidence]
    exposed: Exposed = {}
    consent: Consent | None = None
    told: dict[str, Claims] = {}
    slot: int = -1
    rectified: dict[str, Rectified] = {}
    groups: dict[Identifier, Millis] = {}
    members: dict[Identifier, Millis] = {}


VERSION = (FORMAT << 8) + len(Packed.__struct_fields__)
"""Grows with every field that a record has more: older code reads such a record and would lose the field."""

_BIG = 1
"""The msgpack extension for whole numbers of more than 64 bits: sums have no limit."""


def _big(code: int, data: memoryview) -> int:
    if code != _BIG:
        raise Corrupt(
            "not a profile record (unknown extension)", seen=code, remedy="rebuild it from the journal"
        )
    return int.from_bytes(data, "big", signed=True)


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Packed, ext_hook=_big)


def encode(leaf: Leaf, life: list[Any], rows: dict[int, list[Any]]) -> bytes:
    """``life`` and ``rows`` with every accumulator packed. What is encoded is a :class:`Packed`, written as a
    plain tuple: the same bytes without building the object. 5 us for a few events."""
    parts = (
        leaf.names,
        _columns(leaf.touches) if leaf.touches else None,
        leaf.bought,
        leaf.cart,
        leaf.dismissed,
        leaf.searches,
        leaf.exposures,
        leaf.traits,
        leaf.links,
        leaf.exposed,
        leaf.consent,
        leaf.told,
        leaf.slot,
        leaf.rectified,
        leaf.groups,
        leaf.members,
    )
    head = (FORMAT, leaf.layout, leaf.offset, leaf.first_seen, leaf.newest)
    by_key = [(key, rows[key]) for key in sorted(rows)]
    try:
        return _encoder.encode((*head, life, by_key, *parts))
    except OverflowError:
        return _encoder.encode((*head, _widened(life), _widened(by_key), *parts))


def _widened(value: Any) -> Any:
    """The same with whole numbers of more than 64 bits as extensions."""
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return msgspec.msgpack.Ext(_BIG, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, list | tuple):
        return [_widened(x) for x in value]
    if isinstance(value, dict):
        return {key: _widened(x) for key, x in value.items()}
    return value


def decode(data: bytes) -> Leaf:
    """The leaf with accumulators still packed. Raises :class:`Corrupt` for bytes that are not a leaf."""
    try:
        p = _decoder.decode(data)
        if p.format != FORMAT:
            raise Corrupt(
                "a profile record of an unknown format", seen=p.format, remedy="rebuild from the journal"
            )
        touches = [] if p.touches is None else _touches(p.touches)
    except (msgspec.DecodeError, ValueError, IndexError) as error:
        raise Corrupt(f"not a profile record ({error})", remedy="rebuild it from the journal") from error
    return Leaf(
        p.layout,
        p.life,
        dict(p.rows),
        p.offset,
        p.first_seen,
        p.newest,
        p.names,
        touches,
        p.bought,
        p.cart,
        p.dismissed,
        p.searches,
        p.exposures,
        p.traits,
        p.links,
        p.exposed,
        consent=p.consent,
        told=p.told,
        slot=p.slot,
        rectified=p.rectified,
        groups=p.groups,
        members=p.members,
    )


def _columns(touches: list[Touch]) -> Touches:
    if len(touches) == 1:
        (one,) = touches
        return Touches(one.time, [], [one.item_id], bytes((_KIND_NUMBER[one.kind],)), b"\0", [one.session_id])
    times = [t.time for t in touches]
    ids = [t.session_id for t in touches]
    sessions = list(dict.fromkeys(ids))
    if len(sessions) == 1:
        session = bytes(len(ids))
    else:
        number = {session_id: i for i, session_id in enumerate(sessions)}
        session = bytes([number[i] for i in ids])
    return Touches(
        times[0],
        [after - before for before, after in pairwise(times)],
        [t.item_id for t in touches],
        bytes([_KIND_NUMBER[t.kind] for t in touches]),
        session,
        sessions,
    )


def _touches(columns: Touches) -> list[Touch]:
    times = accumulate(columns.gaps, initial=columns.start)
    sessions = columns.sessions
    return [
        Touch(time, item_id, TOUCH_KINDS[kind], sessions[session])
        for time, item_id, kind, session in zip(
            times, columns.items, columns.kinds, columns.session, strict=True
        )
    ]
