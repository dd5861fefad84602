"""How the journal looks in a file: frames, one per commit group, and what a damaged end of file means.

::

    header 40 bytes   magic, version, first seq, durable seq at writing, count, payload bytes, 2 checksums
    payload           count record lengths (u32), then the records
    end mark 4 bytes  never zero, so that a zero-filled end is seen

The *durable seq at writing* is what tells a torn write from damage. Frames of one flush all carry the same
value. A frame that carries a higher one than the damaged place was written after that place had been flushed,
so the damaged place had been acknowledged. A torn write leaves a short file or whole sectors of zeros, never
a complete frame with a wrong bit in it (ALICE, Pillai et al., OSDI 2014, section 3: the states that a file
system may leave after a crash).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from struct import Struct, pack, unpack_from
from typing import Literal, NamedTuple

from opportune.stores.disk import Reader

MAGIC = b"\xf1OPJ"
VERSION = 1
END = b"\xf1END"
SECTOR_BYTES = 512
CHUNK_BYTES = 1 << 20
_HEADER = Struct("<4sBBHQQIII")
_CRC = Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
OVERHEAD_BYTES = HEADER_BYTES + len(END)


class Frame(NamedTuple):
    """``offset`` and ``end`` are positions in the file, ``durable`` is the durable seq when it was
    written."""

    offset: int
    end: int
    first: int
    n_records: int
    durable: int
    payload: memoryview

    def records(self) -> list[bytes]:
        lengths = unpack_from(f"<{self.n_records}I", self.payload)
        at = 4 * self.n_records
        records = []
        for length in lengths:
            records.append(bytes(self.payload[at : at + length]))
            at += length
        return records

    def record(self, seq: int) -> bytes:
        index = seq - self.first
        lengths = unpack_from(f"<{index + 1}I", self.payload)
        end = 4 * self.n_records + sum(lengths)
        return bytes(self.payload[end - lengths[index] : end])


class Damage(NamedTuple):
    """The place in a file where frames stop although bytes go on."""

    offset: int
    expected: int
    kind: Literal["torn", "flipped", "newer"]
    reason: str


def encode(first: int, durable: int, records: Sequence[bytes]) -> bytes:
    """One frame. O(bytes)."""
    count = len(records)
    payload = pack(f"<{count}I", *map(len, records)) + b"".join(records)
    head = _HEADER.pack(MAGIC, VERSION, 0, 0, first, durable, count, len(payload), zlib.crc32(payload))
    return b"".join((head, _CRC.pack(zlib.crc32(head)), payload, END))


class _Header(NamedTuple):
    version: int
    first: int
    durable: int
    n_records: int
    length: int
    crc: int


def _header(data: memoryview | bytes, at: int) -> _Header | None:
    """The header at ``at``, or None when its own checksum does not hold. Needs 40 bytes there."""
    magic, version, _, _, first, durable, count, length, crc = _HEADER.unpack_from(data, at)
    if magic != MAGIC or _CRC.unpack_from(data, at + _HEADER.size)[0] != zlib.crc32(
        data[at : at + _HEADER.size]
    ):
        return None
    return _Header(version, first, durable, count, length, crc)


def walk(reader: Reader, start: int, expected: int, size: int) -> Iterator[Frame | Damage]:
    """Every whole frame from ``start`` on, checked; when something else is met, one last :class:`Damage`.

    ``expected`` is the seq that the first frame must begin with. Memory: one chunk of 1 MB or one frame.
    """
    base = start
    data = memoryview(b"")
    at = start
    while at < size:
        have = base + len(data) - at
        if have < HEADER_BYTES and base + len(data) < size:
            base, data = at, memoryview(reader.read(at, min(CHUNK_BYTES, size - at)))
            have = len(data)
        if have < HEADER_BYTES:
            yield _judge(reader, at, expected, size)
            return
        header = _header(data, at - base)
        if header is None or header.first != expected or header.version != VERSION:
            yield _judge(reader, at, expected, size)
            return
        whole = header.length + OVERHEAD_BYTES
        if have < whole and base + len(data) < size:
            base, data = at, memoryview(reader.read(at, min(max(CHUNK_BYTES, whole), size - at)))
            have = len(data)
        body = data[at - base + HEADER_BYTES : at - base + HEADER_BYTES + header.length]
        mark = data[at - base + HEADER_BYTES + header.length : at - base + whole]
        if have < whole or zlib.crc32(body) != header.crc or mark != END:
            yield _judge(reader, at, expected, size)
            return
        yield Frame(at, at + whole, header.first, header.n_records, header.durable, body)
        at += whole
        expected += header.n_records


def _judge(reader: Reader, offset: int, expected: int, size: int) -> Damage:
    """What stands at ``offset`` instead of the frame that begins with seq ``expected``, seen with all that
    follows in the file."""
    rest = reader.read(offset, size - offset)
    header = _header(rest, 0) if len(rest) >= HEADER_BYTES else None
    after = 1
    if header is not None:
        if header.version > VERSION:
            return Damage(offset, expected, "newer", f"frame version {header.version}")
        if header.first != expected:
            return Damage(
                offset, expected, "flipped", f"a frame begins with seq {header.first}, not {expected}"
            )
        after = header.length + OVERHEAD_BYTES
    if _is_zeros(rest):
        return Damage(offset, expected, "torn", "zeros to the end of the file")
    if _written_after(rest, after, expected):
        return Damage(offset, expected, "flipped", "damaged, and frames flushed later follow it")
    if header is None:
        if len(rest) < HEADER_BYTES:
            return Damage(offset, expected, "torn", "the file ends inside a frame header")
        to_sector_end = -(offset + HEADER_BYTES) % SECTOR_BYTES
        if _has_empty_sector(rest[: HEADER_BYTES + to_sector_end], offset):
            return Damage(offset, expected, "torn", "a frame header was not written")
        return Damage(offset, expected, "flipped", "a frame header is complete but its checksum is wrong")
    if len(rest) < after:
        return Damage(offset, expected, "torn", "the file ends inside a frame")
    if _has_empty_sector(rest[:after], offset) or _is_zeros(rest[after - len(END) : after]):
        return Damage(offset, expected, "torn", "part of a frame was not written")
    return Damage(offset, expected, "flipped", "a frame is complete but its checksum is wrong")


def _written_after(rest: bytes, start: int, expected: int) -> bool:
    """Whether a frame follows that was written when ``expected`` had already been flushed."""
    at = rest.find(MAGIC, start)
    while at >= 0 and at + HEADER_BYTES <= len(rest):
        header = _header(rest, at)
        if header is not None and header.durable > expected:
            return True
        at = rest.find(MAGIC, at + 1)
    return False


def _has_empty_sector(part: bytes, offset: int) -> bool:
    """Whether a sector's share of ``part``, which lies at ``offset`` in its file, is all zeros."""
    at = 0
    while at < len(part):
        end = min(len(part), at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES)
        if _is_zeros(part[at:end]):
            return True
        at = end
    return False


def _is_zeros(part: bytes) -> bool:
    return part.count(0) == len(part)
