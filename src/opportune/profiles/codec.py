"""A leaf as bytes: the same state, the same bytes.

One msgpack array. Maps are sorted, touches are written as columns with times as differences and session ids
once, and the layout (four bytes per feature) travels along so that a changed definition is noticed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.errors import Corrupt
from opportune.events.event import Identifier
from opportune.identity.links import Evidence
from opportune.profiles.leaf import TOUCH_KINDS, CartLine, Exposure, Leaf, Search, Touch, Trait

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


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Packed)


def encode(leaf: Leaf, life: list[Any], rows: dict[int, list[Any]]) -> bytes:
    """``life`` and ``rows`` with every accumulator packed."""
    return _encoder.encode(
        Packed(
            FORMAT,
            leaf.layout,
            leaf.offset,
            leaf.first_seen,
            leaf.newest,
            life,
            sorted(rows.items()),
            leaf.names,
            _columns(leaf.touches) if leaf.touches else None,
            leaf.bought,
            leaf.cart,
            leaf.dismissed,
            leaf.searches,
            leaf.exposures,
            leaf.traits,
            leaf.links,
        )
    )


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
    )


def _columns(touches: list[Touch]) -> Touches:
    sessions: dict[str, int] = {}
    gaps: list[int] = []
    items: list[str] = []
    kinds = bytearray()
    session = bytearray()
    start = before = touches[0].time
    for touch in touches:
        gaps.append(touch.time - before)
        before = touch.time
        items.append(touch.item_id)
        kinds.append(_KIND_NUMBER[touch.kind])
        session.append(sessions.setdefault(touch.session_id, len(sessions)))
    return Touches(start, gaps, items, bytes(kinds), bytes(session), list(sessions))


def _touches(columns: Touches) -> list[Touch]:
    out: list[Touch] = []
    time = columns.start
    sessions = columns.sessions
    rest = zip(columns.gaps, columns.items, columns.kinds, columns.session, strict=True)
    for gap, item_id, kind, session in rest:
        time += gap
        out.append(Touch(time, item_id, TOUCH_KINDS[kind], sessions[session]))
    return out
