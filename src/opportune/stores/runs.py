"""Immutable sorted runs: files of keyed entries, found by a 64-bit hash of the key.

::

    entries    in the order of their hashes: checksum u32, value bytes u32 (all ones: deleted), key bytes u16,
               key, value
    hashes     u64 each
    starts     u64 each, and one more: where the entries end
    footer     magic, version, count, checksum of hashes and starts, own checksum

In memory a key costs 16 bytes, whatever its length and value.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any

import msgspec
import numpy as np

from opportune.errors import Corrupt, FolderTooNew
from opportune.stores.disk import Disk, Reader
from opportune.stores.extents import copy_extents, mark_newest

_MAGIC = b"OPRN"
_VERSION = 1
_ENTRY = Struct("<IIH")
_SIZES = Struct("<IH")
_FOOTER = Struct("<4sIQI")
_FOOTER_BYTES = _FOOTER.size + 4
_DELETED = 0xFFFFFFFF
_PIECE_BYTES = 4 << 20
_BATCH_PIECE_BYTES = 256 << 10
_SHARED_BYTES = 1 << 20
_SHARED_GAP = 4 << 10
"""Reading this much for nothing costs less than another call."""

DELETED: Any = object()
"""What :meth:`Run.get` returns for a key that was deleted here."""


def hash_key(key: bytes) -> int:
    """64 bits, the same in every process. 0.6 us."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little")


def encode_entry(key: bytes, value: bytes | None) -> bytes:
    if value is None:
        body = _SIZES.pack(_DELETED, len(key)) + key
    else:
        body = _SIZES.pack(len(value), len(key)) + key + value
    return zlib.crc32(body).to_bytes(4, "little") + body


class RunInfo(msgspec.Struct, frozen=True, array_like=True):
    """What the manifest says of a run."""

    name: str
    count: int
    bytes: int
    checksum: int


class Run:
    """One open run; any thread may read it."""

    def __init__(self, disk: Disk, info: RunInfo) -> None:
        self.info = info
        self._where = f"{disk.name}/{info.name}"
        self._reader: Reader = disk.open_read(info.name)
        size = self._reader.size()
        if size != info.bytes:
            raise self._corrupt(f"it has {size} bytes, the manifest says {info.bytes}")
        footer = self._reader.read(size - _FOOTER_BYTES, _FOOTER_BYTES)
        magic, version, count, checksum = _FOOTER.unpack_from(footer)
        if magic != _MAGIC or zlib.crc32(footer[:-4]).to_bytes(4, "little") != footer[-4:]:
            raise self._corrupt("its footer is damaged")
        if version > _VERSION:
            raise FolderTooNew(
                f"a run was written by a newer version (run version {version})",
                where=self._where,
                remedy="upgrade opportune, or restore a backup made by this version",
            )
        if (count, checksum) != (info.count, info.checksum):
            raise self._corrupt("its footer does not agree with the manifest")
        index = self._reader.read(size - _FOOTER_BYTES - 16 * count - 8, 16 * count + 8)
        if zlib.crc32(index) != checksum:
            raise self._corrupt("its index is damaged")
        self.count: int = count
        self.hashes = np.frombuffer(index, np.uint64, count)
        self.starts = np.frombuffer(index, np.uint64, count + 1, 8 * count).astype(np.int64, copy=False)
        self.data_bytes = int(self.starts[-1])
        # Bisecting a memoryview costs no numpy call per probe.
        self._hashes = self.hashes.data
        self._starts = self.starts.data

    def get(self, key: bytes, key_hash: int) -> bytes | Any | None:
        """The value, DELETED, or None when this run does not speak of the key. O(log n) and one ``pread``.
        Raises Corrupt."""
        hashes = self._hashes
        at = bisect_left(hashes, key_hash)
        while at < self.count and hashes[at] == key_hash:
            start = self._starts[at]
            entry = self._reader.read(start, self._starts[at + 1] - start)
            checksum, value_bytes, key_bytes = _ENTRY.unpack_from(entry)
            if zlib.crc32(memoryview(entry)[4:]) != checksum:
                raise self._corrupt(f"the entry at byte {start} is damaged")
            if entry[10 : 10 + key_bytes] == key:
                return DELETED if value_bytes == _DELETED else entry[10 + key_bytes :]
            at += 1
        return None

    def get_many(self, keys: Sequence[bytes], hashes: np.ndarray[Any, Any]) -> list[bytes | Any | None]:
        """:meth:`get` of many keys at once, in their order; neighbours in the file share a read. About 1 us a
        key where a ``get`` takes 4."""
        found: list[bytes | Any | None] = [None] * len(keys)
        if not self.count:
            return found
        at = np.minimum(np.searchsorted(self.hashes, hashes), self.count - 1)
        hits = np.flatnonzero(self.hashes[at] == hashes)
        hits = hits[np.argsort(at[hits], kind="stable")]
        starts, ends = self.starts[at[hits]].tolist(), self.starts[at[hits] + 1].tolist()
        piece, first, upto = b"", 0, 0
        for place, index in enumerate(hits.tolist()):
            start, end = starts[place], ends[place]
            if end > upto:
                first = start
                upto = _shared_read(starts, ends, place)
                piece = self._reader.read(first, upto - first)
            entry = piece[start - first : end - first]
            checksum, value_bytes, key_bytes = _ENTRY.unpack_from(entry)
            if zlib.crc32(memoryview(entry)[4:]) != checksum:
                raise self._corrupt(f"the entry at byte {start} is damaged")
            if entry[10 : 10 + key_bytes] == keys[index]:
                found[index] = DELETED if value_bytes == _DELETED else entry[10 + key_bytes :]
            else:  # another key of the same hash comes first
                found[index] = self.get(keys[index], int(hashes[index]))
        return found

    def items(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Every entry in the order of its hash, checked; None for a deleted key. Raises Corrupt."""
        at = 0
        while at < self.count:
            start = self._starts[at]
            upto = max(at + 1, bisect_left(self._starts, start + (1 << 20), at + 1, self.count + 1) - 1)
            piece = self._reader.read(start, self._starts[upto] - start)
            for i in range(at, upto):
                entry = piece[self._starts[i] - start : self._starts[i + 1] - start]
                checksum, value_bytes, key_bytes = _ENTRY.unpack_from(entry)
                if zlib.crc32(memoryview(entry)[4:]) != checksum:
                    raise self._corrupt(f"the entry at byte {self._starts[i]} is damaged")
                key = entry[10 : 10 + key_bytes]
                yield key, None if value_bytes == _DELETED else entry[10 + key_bytes :]
            at = upto

    def read(self, start: int, length: int) -> bytes:
        """Raw bytes of the entries."""
        return self._reader.read(start, length)

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(
            f"a checkpoint file is damaged: {what}",
            where=self._where,
            remedy="restore a backup, or remove the folder 'state' to fold the whole journal again",
        )


def _shared_read(starts: list[int], ends: list[int], place: int) -> int:
    """Where a read that begins with the entry at ``place`` should end: it takes in what follows closely."""
    upto, limit = ends[place], starts[place] + _SHARED_BYTES
    for following in range(place + 1, len(starts)):
        if starts[following] > upto + _SHARED_GAP or ends[following] > limit:
            break
        upto = ends[following]
    return upto


class Batch:
    """Entries on their way into a run, in memory, in pieces: growing it never copies what is there."""

    def __init__(self) -> None:
        self.pieces: list[bytearray] = [bytearray()]
        self.hashes: list[bytearray] = [bytearray()]
        self.lengths: list[bytearray] = [bytearray()]
        self.count = 0

    def put(self, key: bytes, value: bytes | None) -> None:
        entry = encode_entry(key, value)
        piece = self.pieces[-1]
        if len(piece) + len(entry) > _BATCH_PIECE_BYTES:
            piece = bytearray()
            self.pieces.append(piece)
            self.hashes.append(bytearray())
            self.lengths.append(bytearray())
        piece += entry
        self.hashes[-1] += blake2b(key, digest_size=8).digest()
        self.lengths[-1] += len(entry).to_bytes(4, "little")
        self.count += 1

    def take(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Data (n_bytes,) uint8, hashes (n,) uint64, lengths (n,) int64, in the order of arrival; the batch
        is empty afterwards."""
        data = np.empty(sum(map(len, self.pieces)), np.uint8)
        at = 0
        for i, piece in enumerate(self.pieces):
            data[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
            self.pieces[i] = bytearray()
        hashes = np.concatenate([np.frombuffer(part, "<u8") for part in self.hashes])
        lengths = np.concatenate([np.frombuffer(part, "<u4") for part in self.lengths]).astype(np.int64)
        self.__init__()  # type: ignore[misc]  # starts over as a new one
        return data, hashes, lengths


def write_batch(disk: Disk, name: str, batch: Batch) -> RunInfo:
    """Sort a batch into a run on disk, flushed; of several entries of one key the last stands."""
    data, hashes, lengths = batch.take()
    starts = np.cumsum(lengths) - lengths
    # Newest first among equals: a stable sort of the reversed arrival.
    order = (len(hashes) - 1 - np.argsort(hashes[::-1], kind="stable")).astype(np.int64)
    hashes, starts, lengths = hashes[order], starts[order], lengths[order]
    keep = np.empty(len(order), np.uint8)
    mark_newest(data, starts, hashes, keep, False)
    kept = keep.astype(bool)
    hashes, starts, lengths = hashes[kept], starts[kept], lengths[kept]
    writer = _RunWriter(disk, name)
    for low, high in _pieces(lengths):
        writer.add(data, starts[low:high], lengths[low:high], hashes[low:high])
    return writer.finish()


def merge(disk: Disk, name: str, runs: Sequence[Run], *, drop_tombstones: bool) -> RunInfo:
    """One run with what several say, newest first, flushed. Deleted keys vanish when asked: only right when
    nothing older is left. Memory: 29 bytes a key and some pieces of 4 MB."""
    hashes = np.concatenate([run.hashes for run in runs])
    source = np.concatenate([np.full(run.count, i, np.uint8) for i, run in enumerate(runs)])
    starts = np.concatenate([run.starts[:-1] for run in runs])
    lengths = np.concatenate([np.diff(run.starts) for run in runs])
    order = np.argsort(hashes, kind="stable")
    hashes, source, starts, lengths = hashes[order], source[order], starts[order], lengths[order]
    writer = _RunWriter(disk, name)
    for low, high in _pieces(lengths, hashes):
        data, places = _load(runs, source[low:high], starts[low:high], lengths[low:high])
        keep = np.empty(high - low, np.uint8)
        mark_newest(data, places, hashes[low:high], keep, drop_tombstones)
        kept = keep.astype(bool)
        writer.add(data, places[kept], lengths[low:high][kept], hashes[low:high][kept])
    return writer.finish()


def _load(
    runs: Sequence[Run],
    source: np.ndarray[Any, Any],
    starts: np.ndarray[Any, Any],
    lengths: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The bytes of some entries, and where each of them lies there. A run's entries follow each other in its
    file, so this is one read per run."""
    parts = []
    places = np.empty(len(starts), np.int64)
    base = 0
    for i, run in enumerate(runs):
        mine = source == i
        if mine.any():
            first = int(starts[mine][0])
            end = int(starts[mine][-1] + lengths[mine][-1])
            places[mine] = starts[mine] - first + base
            parts.append(np.frombuffer(run.read(first, end - first), np.uint8))
            base += end - first
    return np.concatenate(parts), places


def _pieces(
    lengths: np.ndarray[Any, Any], hashes: np.ndarray[Any, Any] | None = None
) -> Iterator[tuple[int, int]]:
    """Cut entries into ranges of about 4 MB; entries of one hash stay together."""
    ends = np.cumsum(lengths)
    low = 0
    while low < len(lengths):
        base = ends[low] - lengths[low]
        high = max(low + 1, int(np.searchsorted(ends, base + _PIECE_BYTES, "right")))
        while hashes is not None and high < len(hashes) and hashes[high] == hashes[high - 1]:
            high += 1
        yield low, high
        low = high


class _RunWriter:
    def __init__(self, disk: Disk, name: str) -> None:
        self._name = name
        self._appender = disk.open_append(name)
        self._hashes: list[np.ndarray[Any, Any]] = [np.empty(0, np.uint64)]
        self._lengths: list[np.ndarray[Any, Any]] = [np.empty(0, np.int64)]
        self._bytes = 0

    def add(
        self,
        data: np.ndarray[Any, Any],
        starts: np.ndarray[Any, Any],
        lengths: np.ndarray[Any, Any],
        hashes: np.ndarray[Any, Any],
    ) -> None:
        out = np.empty(int(lengths.sum()), np.uint8)
        copy_extents(data, starts, lengths, out)
        self._appender.append(out.data)
        self._bytes += len(out)
        self._hashes.append(hashes)
        self._lengths.append(lengths)

    def finish(self) -> RunInfo:
        hashes = np.concatenate(self._hashes)
        starts = np.zeros(len(hashes) + 1, np.uint64)
        np.cumsum(np.concatenate(self._lengths), out=starts[1:], dtype=np.uint64)
        checksum = zlib.crc32(starts.data, zlib.crc32(hashes.data))
        footer = _FOOTER.pack(_MAGIC, _VERSION, len(hashes), checksum)
        self._appender.append(hashes.data)
        self._appender.append(starts.data)
        self._appender.append(footer + zlib.crc32(footer).to_bytes(4, "little"))
        self._appender.flush()
        self._appender.close()
        size = self._bytes + hashes.nbytes + starts.nbytes + _FOOTER_BYTES
        return RunInfo(self._name, len(hashes), size, checksum)
