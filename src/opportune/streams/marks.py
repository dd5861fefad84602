"""Which messages a leaf has had: eight bytes each, kept with the leaf, so that both change together."""

from __future__ import annotations

import struct

from opportune.errors import Corrupt
from opportune.events.dedupe import digest

MARK_BYTES = 8
REMEMBERED = 1_000
"""Messages known per leaf. A duplicate that comes a thousand events of the same leaf later counts again:
retries come within minutes, and a thousand are weeks of a shopper."""

FORMAT = b"\x01"
"""The first byte; it also tells the record from one that starts with a time, which Quix Streams looks for."""

_length = struct.Struct(">H")


def mark_of(source: str, message_id: str) -> bytes:
    """Half of the digest that one machine uses: it is compared within one leaf only."""
    return digest(source, message_id)[:MARK_BYTES]


def has(marks: bytes, mark: bytes) -> bool:
    """Whether the mark is among them. O(marks), 0.1 us for fifty."""
    at = marks.find(mark)
    while at >= 0:
        if at % MARK_BYTES == 0:
            return True
        at = marks.find(mark, at + 1)
    return False


def with_mark(marks: bytes, mark: bytes) -> bytes:
    """The newest at the end; the oldest goes when there are too many."""
    return (marks + mark)[-REMEMBERED * MARK_BYTES :]


def packed(marks: bytes, leaf: bytes) -> bytes:
    """What the worker's state holds under one key."""
    return FORMAT + _length.pack(len(marks) // MARK_BYTES) + marks + leaf


def unpacked(record: bytes) -> tuple[bytes, bytes]:
    """(marks, leaf). Raises :class:`Corrupt` for bytes that are not such a record."""
    if record[:1] != FORMAT:
        raise Corrupt("not a worker's record", seen=record[:1], remedy="rebuild its state from the journal")
    end = 3 + _length.unpack_from(record, 1)[0] * MARK_BYTES
    return record[3:end], record[end:]
