"""A small engine over the durable core, for fault tests: entries are folded into one ledger per key.

The fold notices everything: an entry that is lost, doubled, or applied in another order changes the chain.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from opportune.clock import DAY
from opportune.events.dedupe import Dedupe, Seal, digest
from opportune.stores.cache import Checkpoint, RecordCache
from opportune.stores.disk import Disk
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore
from opportune.stores.recovery import canonical, check_agreement


class Ledger(msgspec.Struct, array_like=True):
    offset: int = 0
    count: int = 0
    chain: int = 0


class LedgerCodec:
    def encode(self, record: Any) -> bytes:
        return msgspec.msgpack.encode(record)

    def decode(self, data: bytes) -> Ledger:
        return msgspec.msgpack.decode(data, type=Ledger)

    def zero(self) -> Ledger:
        return Ledger()


def make_entry(number: int, random: Random, *, keys: int = 40, most_bytes: int = 400) -> bytes:
    """Entry ``number``: a key, and bytes that hold zeros and bits of all kinds."""
    filler = random.randbytes(random.randint(0, most_bytes))
    return b"k%d|%d|" % (random.randrange(keys), number) + filler


def key_of(entry: bytes) -> str:
    return entry.partition(b"|")[0].decode()


def number_of(entry: bytes) -> int:
    return int(entry.split(b"|", 2)[1])


def received(number: int) -> int:
    """Entries come ten a day, so that marks expire."""
    return number // 10 * DAY


class Engine:
    """Append, fold at once, acknowledge after the flush; fuzzy checkpoints."""

    def __init__(self, disk: Disk, *, segment_bytes: int = 64 << 20, capacity: int = 16) -> None:
        self.journal = Journal.open(disk, segment_bytes=segment_bytes)
        self.store = RecordStore.open(disk)
        check_agreement(self.journal, self.store, where=disk.name)
        self.dedupe = Dedupe(self.store)
        codec = LedgerCodec()
        self.cache = RecordCache(self.store, lambda key: codec, capacity=capacity)
        for seq, entry in self.journal.scan(self.store.offset):
            self.fold(seq, entry)

    def fold(self, seq: int, entry: bytes) -> None:
        number = number_of(entry)
        self.dedupe.add("s", str(number), received(number))
        key = key_of(entry)
        if self.cache.get(key).offset >= seq:
            return
        ledger = self.cache.touch(key)
        ledger.offset = seq
        ledger.count += 1
        ledger.chain = zlib.crc32(entry, ledger.chain)

    def append(self, entries: list[bytes]) -> None:
        for seq, entry in enumerate(entries, self.journal.append(entries)):
            self.fold(seq, entry)

    def begin_checkpoint(self) -> tuple[Checkpoint, Seal]:
        offset = self.journal.next_seq
        checkpoint = self.cache.checkpoint(offset, {"at": offset}, {"note": b"%d" % offset})
        return checkpoint, self.dedupe.begin()

    def finish_checkpoint(self, checkpoint: Checkpoint, seal: Seal) -> None:
        while not checkpoint.step():
            pass
        while self.journal.durable_seq <= checkpoint.highest_offset:
            self.journal.flush()
        checkpoint.finish(seal.write)
        checkpoint.done()
        seal.done()

    def state(self) -> bytes:
        marks = ((mark, b"%d" % day) for day, mark in self.dedupe.marks())
        return canonical(self.cache.items()) + canonical(marks)

    def close(self) -> None:
        self.journal.close()


class Reference:
    """What the state must be, by plain dicts."""

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._days: dict[int, int] = {}
        for seq, entry in enumerate(entries, 1):
            self.fold(seq, entry)

    def fold(self, seq: int, entry: bytes) -> None:
        ledger = self._ledgers.setdefault(key_of(entry), Ledger())
        ledger.offset, ledger.count = seq, ledger.count + 1
        ledger.chain = zlib.crc32(entry, ledger.chain)
        number = number_of(entry)
        self._days[number] = received(number) // DAY

    def state(self) -> bytes:
        newest = max(self._days.values(), default=0)
        marks = [(digest("s", str(n)), day) for n, day in self._days.items() if day >= newest - 7]
        items = [(key, msgspec.msgpack.encode(ledger)) for key, ledger in self._ledgers.items()]
        return canonical(items) + canonical((mark, b"%d" % day) for mark, day in marks)
