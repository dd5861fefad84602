"""Many entries in one message: what a message costs (poll, produce, commit, wrappers) is paid once for all.

A pack of entries is a MessagePack list of ``[time, entry]``, the time being when a gateway received it; a
pack of ends is a list of ``[identifier, event]``, an order to erase in the place of some.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence

import msgspec

from opportune.engine import entries
from opportune.engine.entries import Entry
from opportune.events.event import Event
from opportune.privacy.order import Order

log = logging.getLogger("opportune.streams")

MOST_PACKED = 500
"""Entries in one message; also what fits into :data:`PLACE_BITS`."""

MOST_BYTES = 256_000
"""A quarter of what brokers accept by default: a pack is closed by the entry that crosses this."""

PLACE_BITS = 10

encode = msgspec.msgpack.Encoder().encode
_entries = msgspec.msgpack.Decoder(list[tuple[int, Entry]]).decode
_ends = msgspec.msgpack.Decoder(list[tuple[bytes, Event | Order]]).decode
_raw = msgspec.msgpack.Decoder(list[tuple[int, msgspec.Raw]]).decode


def sequence(offset: int, place: int) -> int:
    """Which of two entries of a partition came later: larger. Exact as a double up to 2**43 messages."""
    return (offset + 1 << PLACE_BITS) + place


def joined(some: Sequence[bytes]) -> list[bytes]:
    """The entries of some packs in as few as their bounds allow, in order; nothing is decoded.
    O(their bytes)."""
    if len(some) == 1:
        return [some[0]]
    out: list[bytes] = []
    bodies: list[bytes] = []
    count = size = 0
    for data in some:
        length, at = _header(data)
        if bodies and (count + length > MOST_PACKED or size + len(data) > MOST_BYTES):
            out.append(_LIST.pack(_LIST_MARK, count) + b"".join(bodies))
            bodies, count, size = [], 0, 0
        bodies.append(data[at:])
        count, size = count + length, size + len(data)
    if bodies:
        out.append(_LIST.pack(_LIST_MARK, count) + b"".join(bodies))
    return out


_LIST, _LIST_MARK = struct.Struct(">BI"), 0xDD
_SHORTER, _SHORTER_MARK = struct.Struct(">BH"), 0xDC
"""How MessagePack lists of more than 15 begin: with a mark and their length."""


def _header(data: bytes) -> tuple[int, int]:
    """(length of the list, where its first element begins)."""
    if data[0] >> 4 == 0x9:
        return data[0] & 0xF, 1
    how = _SHORTER if data[0] == _SHORTER_MARK else _LIST
    return how.unpack_from(data)[1], how.size


def split(data: bytes) -> list[tuple[int, msgspec.Raw]]:
    """(time, bytes of the entry) of every entry; none, told in the log, when this is no pack. Views of
    ``data``: nothing is copied."""
    try:
        return _raw(data)
    except msgspec.MsgspecError as error:
        log.error("a message that is no pack was passed over: %s", error)
        return []


def entries_of(data: bytes) -> list[tuple[int, Entry]]:
    """(time, entry) of every entry that can be read. What cannot is told in the log and passed over: it must
    not stop a partition."""
    try:
        return _entries(data)
    except msgspec.MsgspecError:
        return [(time, entry) for time, raw in split(data) if (entry := read(raw)) is not None]


def ends_of(data: bytes) -> Sequence[tuple[bytes, Event | Order]]:
    """(identifier, what was said of it); as :func:`entries_of`, but only fold workers write these."""
    try:
        return _ends(data)
    except msgspec.MsgspecError as error:
        log.error("a message that is no pack of ends was passed over: %s", error)
        return ()


def read(raw: bytes | msgspec.Raw) -> Entry | None:
    """One entry; None, told in the log, when it cannot be read."""
    try:
        entry: Entry = entries.decode(raw)
        return entry
    except msgspec.MsgspecError as error:
        log.error("an entry that cannot be read was passed over: %s", error)
        return None
