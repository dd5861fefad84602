"""Group commit: whatever was posted while the disk was busy goes out with the next flush.

One flush is in flight, in a thread that does nothing else; everything that touches state runs on the event
loop. A post is answered after its flush and after its events are folded, so the next decision sees them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

from opportune.clock import Millis
from opportune.engine.admission import Receipt, receipt
from opportune.errors import OpportuneError, Overloaded, StorageError
from opportune.events.verdicts import Verdict
from opportune.server.contract import Admission, Core, RawItem
from opportune.server.metrics import Metrics

log = logging.getLogger("opportune.writer")

QUEUE_LIMIT = 20_000
"""Events admitted but not yet on disk and folded, above which posts are refused with 429."""

SLICE_S = 0.001
"""How long the loop folds at a stretch while requests wait."""

MAINTENANCE_S = 0.0003
CHUNK = 128
"""A large batch is admitted in pieces, so that it holds the loop for a millisecond, not for thirty."""

NUDGE_S = 0.02
"""How long decision records, which nobody waits for, may stay unflushed when nothing else is posted."""


class _Waiting(NamedTuple):
    admission: Admission
    future: asyncio.Future[None]
    size: int


class _Flush(NamedTuple):
    group: list[_Waiting]
    error: Exception | None
    seconds: float


class GroupWriter:
    """Implements ``ingest`` for the HTTP face over the engine's ``admit, append, flush, apply``.

    After a failed flush nothing is believed: everybody who waits gets ``StorageError``, ``healthy`` is false,
    and posts are refused until the engine has reopened from disk.
    """

    def __init__(
        self,
        engine: Core,
        metrics: Metrics | None = None,
        *,
        queue_limit: int = QUEUE_LIMIT,
        reopen_every_s: float = 2.0,
    ) -> None:
        self.engine = engine
        self.metrics = metrics or Metrics()
        self.queue_limit = queue_limit
        self.reopen_every_s = reopen_every_s
        self.failure: str = "not started"
        self._queued = 0
        self._rate = 0.0
        self._waiting: list[_Waiting] = []
        self._unfolded: deque[_Waiting] = deque()
        self._flushing = False
        self._scheduled = False
        self._nudged = False
        self._stopping = False
        self._inbox: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._idle: asyncio.Event

    # -- life ------------------------------------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        return not self.failure

    @property
    def queued(self) -> int:
        """Events that were admitted and not acknowledged yet."""
        return self._queued

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._flush_forever, name="opportune-flush", daemon=True)
        self._thread.start()
        self.failure = ""
        self._later("maintain", 0.05, self._maintain)

    async def stop(self) -> None:
        """Refuse new posts, finish what was admitted, flush once more, end the thread."""
        if self._thread is None:
            return
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        if self.healthy:
            self._nudged = True
            self._idle.clear()
            self._schedule()
            await self._idle.wait()
            self.failure = "the server is shutting down"
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    # -- posting ---------------------------------------------------------------------------------------------

    async def ingest(
        self,
        body_items: Sequence[RawItem],
        *,
        kind: str | None,
        dialect: str,
        source: str,
        received: Millis,
        sent_at: Millis | None = None,
        context: dict[str, Any] | None = None,
    ) -> Receipt:
        """Admit, flush, fold; returns once that is done. Raises ``Overloaded`` before admitting anything, or
        ``StorageError``. About 20 us of the loop beside the engine's own steps for a single event."""
        self._refuse_if_unable(len(body_items))
        admit = self.engine.admit
        if len(body_items) <= CHUNK:
            admission = admit(
                body_items,
                kind=kind,
                dialect=dialect,
                source=source,
                received=received,
                sent_at=sent_at,
                batch_context=context,
            )
            await self._commit(admission)
            return self._receipt(admission.verdicts, dialect)
        verdicts: list[Verdict] = []
        futures: list[asyncio.Future[None]] = []
        for start in range(0, len(body_items), CHUNK):
            if start:
                await asyncio.sleep(0)
            if self.failure:
                break
            admission = admit(
                body_items[start : start + CHUNK],
                kind=kind,
                dialect=dialect,
                source=source,
                received=received,
                sent_at=sent_at,
                batch_context=context,
                position=start,
            )
            verdicts.extend(admission.verdicts)
            futures.append(self._commit(admission))
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if self.failure and len(verdicts) < len(body_items):
            raise StorageError(self.failure)
        return self._receipt(verdicts, dialect)

    async def commit(self, admission: Admission, dialect: str = "replay") -> Receipt:
        """Make something that the engine admitted by another way (a replayed dead letter) durable."""
        self._refuse_if_unable(1)
        await self._commit(admission)
        return self._receipt(admission.verdicts, dialect)

    def nudge(self) -> None:
        """Something was appended that nobody waits for: flush it soon."""
        if not self._nudged:
            self._nudged = True
            self._later("nudge", NUDGE_S, self._schedule)

    def _refuse_if_unable(self, size: int) -> None:
        if self.failure:
            raise StorageError(self.failure, remedy="retry later; see /ready")
        if self._stopping:
            raise StorageError("the server is shutting down", remedy="retry")
        if self._queued and self._queued + size > self.queue_limit:
            rate = max(self._rate, 1_000.0)
            raise Overloaded(
                f"{self._queued} events are waiting to be written",
                retry_after_s=min(300, max(1, math.ceil(self._queued / rate))),
            )

    def _commit(self, admission: Admission) -> asyncio.Future[None]:
        future = self._loop.create_future()
        size = len(admission.verdicts)
        self._queued += size
        self._waiting.append(_Waiting(admission, future, size))
        self._idle.clear()
        if not self._flushing:
            self._schedule()
        return future

    def _receipt(self, verdicts: Sequence[Verdict], dialect: str) -> Receipt:
        found = receipt(verdicts)
        self.metrics.received(dialect, found)
        return found

    # -- flushing --------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Begin after the callbacks of this turn of the loop: everything read in one turn shares a flush."""
        if not self._scheduled and not self._flushing:
            self._scheduled = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._flushing or self.failure or not (self._waiting or self._nudged):
            return
        group, self._waiting = self._waiting, []
        self._nudged = False
        self._flushing = True
        try:
            self.engine.append([waiting.admission for waiting in group])
        except (OSError, OpportuneError) as error:
            self._flushed(_Flush(group, error, 0.0))
            return
        self._inbox.put(group)

    def _flush_forever(self) -> None:
        while (group := self._inbox.get()) is not None:
            error: Exception | None = None
            started = perf_counter()
            try:
                self.engine.flush()
            except Exception as problem:  # noqa: BLE001  # the thread's edge: every failure reaches its waiters
                error = problem
            done = _Flush(group, error, perf_counter() - started)
            try:
                self._loop.call_soon_threadsafe(self._flushed, done)
            except RuntimeError:  # the loop is gone: nobody waits any more
                return

    def _flushed(self, flush: _Flush) -> None:
        self._flushing = False
        if flush.error is not None:
            self._fail(f"the journal cannot be written ({flush.error})", flush.group)
            return
        size = sum(waiting.size for waiting in flush.group)
        self.metrics.flush(flush.seconds, size)
        if size:
            self._rate += 0.1 * (size / max(flush.seconds, 1e-4) - self._rate)
        folding = bool(self._unfolded)
        self._unfolded.extend(flush.group)
        if self._waiting or self._nudged:
            self._begin()  # the disk works while the loop folds
        if not folding:
            self._fold()

    def _fold(self) -> None:
        """Fold in pieces of about :data:`CHUNK` events: models learn once per piece, and the loop looks up
        between pieces."""
        unfolded = self._unfolded
        deadline = perf_counter() + SLICE_S
        while unfolded:
            piece = [unfolded.popleft()]
            size = piece[0].size
            while unfolded and size < CHUNK:
                piece.append(unfolded.popleft())
                size += piece[-1].size
            try:
                self.engine.apply([waiting.admission for waiting in piece])
            except Exception as error:  # state and journal disagree: stop, do not guess
                log.exception("folding failed; restart rebuilds state from the journal")
                self._fail(f"folding failed ({error})", piece)
                return
            self._queued -= size
            for waiting in piece:
                if not waiting.future.done():
                    waiting.future.set_result(None)
            if unfolded and perf_counter() > deadline:
                self._loop.call_soon(self._fold)
                return
        if not (self._flushing or self._scheduled or self._waiting):
            self._idle.set()

    # -- failure ---------------------------------------------------------------------------------------------

    def _fail(self, what: str, group: Sequence[_Waiting]) -> None:
        log.error("%s; refusing posts until reopened", what)
        self.failure = what
        for waiting in [*group, *self._unfolded, *self._waiting]:
            if not waiting.future.done():
                waiting.future.set_exception(StorageError(what, remedy="retry later; see /ready"))
        self._unfolded.clear()
        self._waiting.clear()
        self._queued = 0
        self._nudged = False
        self._idle.set()
        self._later("reopen", self.reopen_every_s, self._reopen)

    def _reopen(self) -> None:
        if self._flushing:
            self._later("reopen", self.reopen_every_s, self._reopen)
            return
        try:
            self.engine.reopen()
        except (OSError, OpportuneError) as error:
            log.error("cannot reopen the journal yet: %s", error)
            self._later("reopen", self.reopen_every_s, self._reopen)
            return
        log.warning("journal reopened; accepting posts")
        self.failure = ""
        self._later("maintain", 0.05, self._maintain)

    # -- maintenance -----------------------------------------------------------------------------------------

    def _maintain(self) -> None:
        if self.failure:
            return
        try:
            more = self.engine.maintain(MAINTENANCE_S)
        except (OSError, OpportuneError) as error:
            self._fail(f"maintenance failed ({error})", [])
            return
        self._later("maintain", 0.002 if more else 0.1, self._maintain)

    def _later(self, name: str, delay_s: float, what: Any) -> None:
        if self._stopping:
            return
        timer = self._timers.get(name)
        if timer is not None:
            timer.cancel()
        self._timers[name] = self._loop.call_later(delay_s, what)
