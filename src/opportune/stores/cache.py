"""Decoded records over the store: hot ones in memory, changed ones pinned until a checkpoint has them.

The cache and its checkpoints belong to the one thread that folds; only :meth:`Checkpoint.finish` may run
beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from opportune.errors import StorageError
from opportune.stores.disk import Bytes
from opportune.stores.records import CheckpointWriter, RecordStore

_ABSENT_REMEMBERED = 4_096
_GONE: Any = object()
"""Stands among the changed records for one that the next checkpoint deletes."""


class Codec(Protocol):
    """How one kind of record becomes bytes. Records have an int attribute ``offset``: the highest journal seq
    folded into them, 0 for none. Equal records encode to equal bytes."""

    def encode(self, record: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...

    def zero(self) -> Any: ...


class RecordCache:
    """``get`` and ``touch`` of a record in memory: 0.1-0.2 us; else one read of the store and a decode.

    At most ``capacity`` records stay in memory besides the changed ones, in two generations: the young one
    takes what is read or changed; when it holds half of the capacity it becomes the old one, and what nobody
    asked for since the turn before is let go, a few records with every new one (dropping 25,000 at once would
    stall). That is nearly least-recently-used, and a hit is one dict lookup.

    The owner starts a checkpoint when it is time, and at the latest when :attr:`full`: beyond ``max_dirty``
    changed records memory would grow without bound.
    """

    def __init__(
        self,
        store: RecordStore,
        codec_for: Callable[[str], Codec],
        *,
        capacity: int = 50_000,
        max_dirty: int = 100_000,
    ) -> None:
        self._store = store
        self._codec_for = codec_for
        self._half = max(1, capacity // 2)
        self._max_dirty = max_dirty
        self._young: dict[str, Any] = {}
        self._old: dict[str, Any] = {}
        self._dirty: dict[str, Any] = {}
        self._writing: dict[str, Any] = {}
        self._leaving: list[dict[str, Any]] = []
        self._absent: set[str] = set()
        self._zeros: dict[int, Any] = {}

    @property
    def dirty_count(self) -> int:
        """Records that the next checkpoint has to write."""
        return len(self._dirty)

    @property
    def cached_count(self) -> int:
        """Records at hand without reading the store, apart from changed ones."""
        return len(self._young) + len(self._old)

    @property
    def full(self) -> bool:
        """Whether more changed records wait than memory is meant for."""
        return len(self._dirty) + len(self._writing) >= self._max_dirty

    def get(self, key: str) -> Any:
        """The record to look at; when there is none a zero, the same one for all. Change it only after
        ``touch``."""
        record = self._young.get(key)
        if record is None:
            record = self._find(key)
            if record is None:
                return self._nothing(key)
        return record

    def _nothing(self, key: str) -> Any:
        """The zero that stands for every absent record of a kind: nobody may change it, so one will do."""
        codec = self._codec_for(key)
        zero = self._zeros.get(id(codec))
        if zero is None:
            zero = self._zeros[id(codec)] = codec.zero()
        return zero

    def peek(self, key: str) -> Any | None:
        """The record, or None when there is none."""
        record = self._young.get(key)
        return self._find(key) if record is None else record

    def touch(self, key: str) -> Any:
        """The record to change, a new zero when there is none; the next checkpoint will write it."""
        record = self._young.get(key)
        if record is None:
            record = self._find(key)
            if record is None:
                record = self._codec_for(key).zero()
                self._absent.discard(key)
                self._keep(key, record)
        self._dirty[key] = record
        return record

    def delete(self, key: str) -> bool:
        """Delete a record, changed or not; whether it was known. Nobody finds it from now on; the next
        checkpoint deletes it from the store. 5 us."""
        record = self._dirty.get(key, self._writing.get(key))
        known = record is not _GONE if record is not None else self._store.get(key.encode()) is not None
        for held in (self._young, self._old):
            held.pop(key, None)
        if known:
            self._dirty[key] = _GONE
        return known

    def _find(self, key: str) -> Any | None:
        """A record that is not in the young generation."""
        record = self._old.pop(key, None)
        if record is None:
            record = self._dirty.get(key, self._writing.get(key))
            if record is _GONE:
                return None
        if record is None:
            # An event asks twice for somebody new: at the door, and when it is folded.
            if key in self._absent:
                return None
            data = self._store.get(key.encode())
            if data is None:
                if len(self._absent) >= _ABSENT_REMEMBERED:
                    self._absent.clear()
                self._absent.add(key)
                return None
            record = self._codec_for(key).decode(data)
        self._keep(key, record)
        return record

    def _keep(self, key: str, record: Any) -> None:
        self._young[key] = record
        if len(self._young) >= self._half:
            self._leaving.append(self._old)
            self._old, self._young = self._young, {}
        if self._leaving:
            self._let_go(8)

    def _let_go(self, at_most: int) -> bool:
        """Drop some of the records that are on their way out; True when none is left."""
        while self._leaving and at_most > 0:
            leaving = self._leaving[-1]
            if not leaving:
                self._leaving.pop()
                continue
            leaving.popitem()
            at_most -= 1
        return not self._leaving

    def items(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Every record as bytes, changed ones as they are now; in no particular order. For exports and
        checks."""
        changed = {**self._writing, **self._dirty}
        for key, record in changed.items():
            if key.startswith(prefix) and record is not _GONE:
                yield key, self._codec_for(key).encode(record)
        for raw, data in self._store.items(prefix.encode()):
            key = raw.decode()
            if key not in changed:
                yield key, data

    def checkpoint(
        self, offset: int, meta: dict[str, Any], blobs: Mapping[str, Bytes | None] | None = None
    ) -> Checkpoint:
        """Begin a checkpoint at journal seq ``offset``: every entry before it has been folded into the
        records. ``blobs`` are files to keep by name, None to drop one. Raises StorageError when one is under
        way."""
        if self._writing:
            raise StorageError("a checkpoint is already under way", remedy="finish or abandon it first")
        return Checkpoint(self, offset, meta, dict(blobs or {}))


class Checkpoint:
    """A fuzzy checkpoint: requests go on between its steps.

    ``step`` until it answers True, flush the journal beyond :attr:`highest_offset`, ``finish`` (in any
    thread), ``done`` on the folding thread. Records that are touched meanwhile may be written with entries at
    or after ``offset`` in them; their own ``offset`` tells replay to skip those, and the next checkpoint has
    them again.
    """

    def __init__(
        self, cache: RecordCache, offset: int, meta: dict[str, Any], blobs: dict[str, Bytes | None]
    ) -> None:
        self._cache = cache
        self._offset = offset
        self._meta = meta
        self._blobs = blobs
        self._writer: CheckpointWriter = cache._store.begin()
        cache._writing, cache._dirty = cache._dirty, {}
        self._left = iter(cache._writing.items())
        self.highest_offset = offset - 1
        self.record_count = len(cache._writing)

    def step(self, budget_s: float = 0.0003) -> bool:
        """Encode changed records for about ``budget_s`` seconds; True when all are encoded. Overruns by one
        record at most."""
        until = time.perf_counter() + budget_s
        codec_for = self._cache._codec_for
        for key, record in self._left:
            if record is _GONE:
                # The name of what was never written must not be written either.
                if self._cache._store.get(key.encode()) is not None:
                    self._writer.put(key.encode(), None)
                continue
            self._writer.put(key.encode(), codec_for(key).encode(record))
            if record.offset > self.highest_offset:
                self.highest_offset = record.offset
            if time.perf_counter() >= until:
                return False
        while not self._cache._let_go(64):
            if time.perf_counter() >= until:
                return False
        return True

    @property
    def writer(self) -> CheckpointWriter:
        """For what its owner keeps outside the cache and wants in the same checkpoint; before ``finish``."""
        return self._writer

    def finish(self, *parts: Callable[[CheckpointWriter], None]) -> None:
        """Write, flush, swap the manifest. The journal must be flushed beyond ``highest_offset`` before.
        ``parts`` put what else belongs to this checkpoint (``Seal.write`` of the de-duplication is one).
        Raises DiskFull, FlushFailed: then ``abandon``, and the checkpoint before this one stands."""
        for name, data in self._blobs.items():
            if data is None:
                self._writer.drop_blob(name)
            else:
                self._writer.put_blob(name, data)
        for part in parts:
            part(self._writer)
        self._writer.commit(self._offset, self._meta, highest_offset=self.highest_offset)

    def done(self) -> None:
        """The written records need no pin any more. O(1)."""
        cache = self._cache
        cache._leaving.append(cache._writing)
        cache._writing = {}

    def abandon(self) -> None:
        """Give up: the records are changed ones again, for the next checkpoint."""
        cache = self._cache
        cache._writing.update(cache._dirty)
        cache._dirty, cache._writing = cache._writing, {}
        self._writer.abandon()
