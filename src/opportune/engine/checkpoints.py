"""Checkpoints in the background: state on disk with the sequence number it has reached, and nothing stalls.

The folding thread encodes changed records in slices between requests; a worker thread writes and flushes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import msgspec

from opportune.clock import MINUTE, Clock, Millis
from opportune.engine.state import State
from opportune.engine.turns import TURN_S, Turns
from opportune.errors import OpportuneError
from opportune.events.dedupe import Seal
from opportune.stores.cache import Checkpoint
from opportune.stores.disk import Bytes
from opportune.stores.journal import Journal
from opportune.stores.records import CheckpointWriter, RecordStore

NUMBERING_BLOB = "catalog/numbering"
ACCOUNTING_BLOB = "accounting"
DEAD_LETTERS_BLOB = "dead-letters"
REVIEWS_BLOB = "identity/reviews"
SWITCHES_BLOB = "experiments/switches"
BANDITS_BLOB = "experiments/bandits"
EVERY: Millis = MINUTE
DIRTY = 50_000
"""Changed records that are worth a checkpoint before its time: the more, the more often a record changed
before it is written once. About 3 kB each."""
TAIL = 200_000
"""Entries since the last checkpoint that are worth one: a restart folds them again, at 10 us each."""


class Checkpoints:
    """At most one checkpoint or merge is under way. All methods belong to the folding thread."""

    def __init__(
        self,
        journal: Journal,
        store: RecordStore,
        state: State,
        clock: Clock,
        *,
        every: Millis = EVERY,
        meta: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._journal = journal
        self._store = store
        self._state = state
        self._clock = clock
        self._every = every
        self._meta = meta
        self._current: Checkpoint | None = None
        self._seal: Seal
        self._items: list[int] = []
        self._items_left: Iterator[int] = iter(())
        self._parts: list[Callable[[CheckpointWriter], None]] = []
        self._encoded = False
        self._work: Future[Any] | None = None
        self._pool = ThreadPoolExecutor(1, "opportune-checkpoint")
        self._numbered = -1
        self.last: Millis = clock()

    @property
    def age_ms(self) -> Millis:
        return self._clock() - self.last

    def step(self, budget_s: float) -> bool:
        """Go on for about ``budget_s``; true while there is more for this thread to do soon.

        Raises what the worker ran into (:class:`StorageError`); the checkpoint before stands.
        """
        if self._work is not None:
            if not self._work.done():
                return False
            self._finished()
        if self._current is None:
            if not self._due():
                return False
            self._begin()
        assert self._current is not None
        if not self._encoded and self._encode(self._current, budget_s):
            self._work = self._hand_over(self._current)
        return not self._encoded

    def keep_up(self) -> None:
        """For callers without a loop: start when due, finish only when memory asks for it."""
        records = self._state.records
        if records.full or self._state.dedupe.full:
            self.run()
        elif self._current is not None or self._due():
            self.step(0.002)

    def turns(self) -> Turns:
        """A whole checkpoint of all that has been folded before the first turn; :meth:`step` may go on with
        it in between. Raises StorageError."""
        while self._current is not None:
            yield from self._turn()
        self._begin()
        mine = self._current
        while self._current is mine:
            yield from self._turn()

    def _turn(self) -> Turns:
        work = self._work
        if work is not None and not work.done():
            yield work.exception  # waits for it
        self.step(TURN_S)
        yield None

    def run(self) -> None:
        """A whole checkpoint of all that has been folded, now."""
        self.wait()
        self._begin()
        assert self._current is not None
        while not self._encode(self._current, 0.1):
            pass
        self._work = self._hand_over(self._current)
        self.wait()

    def stop(self) -> None:
        """Let go without writing any more."""
        self._pool.shutdown(wait=True)

    def close(self) -> None:
        """Write what is not written yet, and stop."""
        try:
            if self._state.next_seq > self._store.offset:
                self.run()
            else:
                self.wait()
        finally:
            self.stop()

    def _due(self) -> bool:
        folded = self._state.next_seq - max(self._store.offset, 1)
        return folded > 0 and (
            self.age_ms >= self._every or self._state.records.dirty_count >= DIRTY or folded >= TAIL
        )

    def _begin(self) -> None:
        """Freeze what must be of one moment; costs copies of references, and the dead letters."""
        state = self._state
        blobs: dict[str, Bytes | None] = {
            ACCOUNTING_BLOB: msgspec.msgpack.encode(state.accounting),
            DEAD_LETTERS_BLOB: msgspec.msgpack.encode(state.dead_letters),
            REVIEWS_BLOB: msgspec.msgpack.encode(state.reviews),
            SWITCHES_BLOB: msgspec.msgpack.encode(state.switches),
            BANDITS_BLOB: msgspec.msgpack.encode(state.bandits.known),
        }
        self._current = state.records.checkpoint(state.next_seq, self._meta(), blobs)
        self._items = state.catalog.take_dirty()
        self._items_left = iter(self._items)
        self._parts = [state.models.begin()]
        self._seal = state.dedupe.begin()
        self._parts.append(self._seal.write)
        self._encoded = False
        self.last = self._clock()

    def _encode(self, checkpoint: Checkpoint, budget_s: float) -> bool:
        """Encode changed items and records for about ``budget_s``; true when all are. Folding an item again
        changes nothing, so they may be of any moment after the checkpoint's own."""
        until = perf_counter() + budget_s
        pack, put = self._state.catalog.pack, checkpoint.writer.put
        for number in self._items_left:
            key, data = pack(number)
            put(key.encode(), data)
            if perf_counter() >= until:
                return False
        return checkpoint.step(budget_s)

    def _hand_over(self, checkpoint: Checkpoint) -> Future[Any]:
        """Everything is encoded: the worker writes it."""
        self._encoded = True
        self._parts.append(self._state.models.end())
        # Looked at now, not when it began: the index of descriptions knows items by number up to this moment.
        if self._state.catalog.numbering_size != self._numbered:
            self._numbered = self._state.catalog.numbering_size
            self._parts.append(self._number_items)
        return self._pool.submit(self._write, checkpoint)

    def _number_items(self, writer: CheckpointWriter) -> None:
        writer.put_blob(NUMBERING_BLOB, self._state.catalog.export_numbering())

    def _write(self, checkpoint: Checkpoint) -> None:
        """In the worker: nothing may be in a checkpoint that is not in the journal."""
        for part in self._parts:
            part(checkpoint.writer)
        self._journal.flush()
        checkpoint.finish()
        while self._store.needs_compaction():
            self._store.compact()

    def _finished(self) -> None:
        work, current = self._work, self._current
        self._work = self._current = None
        assert work is not None
        assert current is not None
        try:
            work.result()
        except OpportuneError:
            current.abandon()
            self._seal.abandon()
            self._state.models.abandon()
            self._state.catalog.put_back(self._items)
            self._numbered = -1
            raise
        current.done()
        self._seal.done()

    def wait(self) -> None:
        """Finish what is under way."""
        if self._current is not None:
            while not self._encoded and not self._encode(self._current, 0.1):
                pass
            if self._work is None:
                self._work = self._hand_over(self._current)
            self._work.exception()
            self._finished()
