"""Group commit: whatever was posted while the disk was busy goes out with the next flush.

One flush at a time; everything that touches state runs on the event loop. A post is answered after its flush
and after its events are folded, so the next decision sees them.

Where the disk is quick and no decisions are being made, the loop flushes by itself: a hand-over to a thread
and back costs more than the 0.1 to 0.4 ms that such a disk takes, and a busy loop hands the interpreter back
late. Otherwise a thread waits for the disk that does nothing else. The writer goes by what flushes took
lately. Nobody waits for company: posts that come while a group is on its way are the next group.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

from opportune.clock import Millis
from opportune.engine.admission import Receipt, receipt
from opportune.errors import OpportuneError, Overloaded, StorageError
from opportune.events.verdicts import Verdict
from opportune.server.contract import Admission, Core, RawItem
from opportune.server.metrics import Metrics
from opportune.server.pending import Pending

log = logging.getLogger("opportune.writer")

QUEUE_LIMIT = 20_000
"""Events admitted but not yet on disk and folded, above which posts are refused with 429."""

QUEUE_S = 1.0
"""How old the oldest of them may be before posts are refused with 429."""

QUICK_FLUSH_S = 0.001
"""Flushes that took less than this lately are made on the loop."""

PROBE_EVERY = 32
"""While a thread flushes, one group in so many is flushed on the loop, to see how quick the disk is: the time
that the thread sees includes its wait for the interpreter."""

SLOW_FLUSH_S = 0.005
"""Above this nothing is probed: the loop would stand still for it."""

QUICK_GROUP = 256
"""Events in a group that is flushed on the loop at most; more are worth a thread's while."""

DECIDING_S = 0.02
"""For how long after a decision the next ones are expected."""

SLICE_S, PIECE = 0.001, 16
"""How long the loop folds at a stretch while requests wait, and the events, more or less, that are folded and
acknowledged before it looks at the time."""

SHORT_SLICE_S, SHORT_PIECE = 0.0005, 4
"""The same while decisions are being made. Where none are, short slices would only make groups smaller."""

MAINTENANCE_S = 0.0003
CHUNK = 128
"""A large batch is admitted in pieces, so that it holds the loop for a millisecond, not for thirty."""

NUDGE_S = 0.1
"""How long decision records, which nobody waits for, may stay unflushed when nothing else is posted."""


Admit = Callable[[], Admission]


class _Waiting:
    """A post. It is admitted with its group, right before it is appended: four in a row cost two thirds of
    four times one."""

    __slots__ = ("admission", "admit", "pending", "since", "size")

    def __init__(self, admit: Admit, pending: Pending[Admission], size: int, since: float) -> None:
        self.admission: Admission
        self.admit = admit
        self.pending = pending
        self.size = size
        self.since = since


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
        queue_s: float = QUEUE_S,
        reopen_every_s: float = 2.0,
    ) -> None:
        self.engine = engine
        self.metrics = metrics or Metrics()
        self.queue_limit = queue_limit
        self.queue_s = queue_s
        self.reopen_every_s = reopen_every_s
        self.failure: str = "not started"
        self._queued = 0
        self._rate = 0.0
        self._large: set[asyncio.Task[Receipt]] = set()
        self._waiting: list[_Waiting] = []
        self._group: list[_Waiting] = []
        self._usual_flush_s = 2 * QUICK_FLUSH_S
        self._usual_thread_s = 0.0
        self._until_probe = PROBE_EVERY
        self._unfolded: deque[_Waiting] = deque()
        self._flushing = False
        self._scheduled = False
        self._nudged_at = -math.inf
        self._nudged = False
        self._is_overdue = False
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
            self._is_overdue = True
            self._idle.clear()
            self._schedule()
            await self._idle.wait()
            self.failure = "the server is shutting down"
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    # -- posting ---------------------------------------------------------------------------------------------

    def ingest(
        self,
        body_items: Sequence[RawItem],
        *,
        kind: str | None,
        dialect: str,
        source: str,
        received: Millis,
        sent_at: Millis | None = None,
        context: dict[str, Any] | None = None,
        is_public: bool = False,
    ) -> Pending[Receipt]:
        """Admit now, flush and fold soon; settled once that is done. Raises ``Overloaded`` before admitting
        anything, or ``StorageError``; the answer may be a ``StorageError`` too."""
        self._refuse_if_unable(len(body_items))
        admit = partial(
            self.engine.admit,
            kind=kind,
            dialect=dialect,
            source=source,
            received=received,
            sent_at=sent_at,
            batch_context=context,
            is_public=is_public,
        )
        if len(body_items) <= CHUNK:
            return self._commit_one(partial(admit, body_items), len(body_items), dialect)
        answer: Pending[Receipt] = Pending()
        task = self._loop.create_task(self._in_pieces(body_items, admit, dialect))
        self._large.add(task)

        def finished(task: asyncio.Task[Receipt]) -> None:
            self._large.discard(task)
            error = task.exception()
            if error is None:
                answer.succeed(task.result())
            else:
                answer.fail(error)

        task.add_done_callback(finished)
        return answer

    async def _in_pieces(
        self, body_items: Sequence[RawItem], admit: Callable[..., Admission], dialect: str
    ) -> Receipt:
        verdicts: list[Verdict] = []
        parts: list[Pending[Admission]] = []
        for start in range(0, len(body_items), CHUNK):
            if start:
                await asyncio.sleep(0)
            if self.failure:
                break
            admission = admit(body_items[start : start + CHUNK], position=start)
            verdicts.extend(admission.verdicts)
            parts.append(self._commit(partial(_same, admission), len(admission.verdicts)))
        for part in parts:
            await part
        if self.failure and len(verdicts) < len(body_items):
            raise StorageError(self.failure)
        return self._receipt(verdicts, dialect)

    def commit(self, admission: Admission, dialect: str = "replay") -> Pending[Receipt]:
        """Make something that the engine admitted by another way (a replayed dead letter) durable."""
        self._refuse_if_unable(1)
        return self._commit_one(partial(_same, admission), len(admission.verdicts), dialect)

    def _commit_one(self, admit: Admit, size: int, dialect: str) -> Pending[Receipt]:
        return self._commit(admit, size).map(lambda admission: self._receipt(admission.verdicts, dialect))

    def nudge(self) -> None:
        """A decision was made. Its record, which nobody waits for, goes out with the next post, or by itself
        soon."""
        self._nudged_at = perf_counter()
        if not self._nudged:
            self._nudged = True
            self._later("nudge", NUDGE_S, self._alone)

    def _alone(self) -> None:
        if self._nudged:
            self._is_overdue = True
            self._schedule()

    def _refuse_if_unable(self, size: int) -> None:
        if self.failure:
            raise StorageError(self.failure, remedy="retry later; see /ready")
        if self._stopping:
            raise StorageError("the server is shutting down", remedy="retry")
        if self._queued and (self._queued + size > self.queue_limit or self._oldest_s() > self.queue_s):
            rate = max(self._rate, 1_000.0)
            raise Overloaded(
                f"{self._queued} events are waiting to be written",
                retry_after_s=min(300, max(1, math.ceil(self._queued / rate))),
            )

    def _oldest_s(self) -> float:
        """For how long the oldest post that nobody has answered yet has been waiting."""
        for line in (self._unfolded, self._group, self._waiting):
            if line:
                return perf_counter() - line[0].since
        return 0.0

    def _commit(self, admit: Admit, size: int) -> Pending[Admission]:
        pending: Pending[Admission] = Pending()
        self._queued += size
        self._waiting.append(_Waiting(admit, pending, size, perf_counter()))
        self._idle.clear()
        if not self._flushing:
            self._schedule()
        return pending

    def _receipt(self, verdicts: Sequence[Verdict], dialect: str) -> Receipt:
        found = receipt(verdicts)
        self.metrics.received(dialect, found)
        return found

    # -- flushing --------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Begin after the callbacks of this turn of the loop: everything read in one turn shares a flush."""
        if not (self._scheduled or self._flushing):
            self._scheduled = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._flushing or self.failure or not (self._waiting or self._is_overdue):
            return
        waiting, self._waiting = self._waiting, []
        group = [one for one in waiting if self._admitted(one)]
        self._group = group
        self._nudged = self._is_overdue = False
        self._flushing = True
        try:
            self.engine.append([one.admission for one in group])
        except (OSError, OpportuneError) as error:
            self._flushed(_Flush(group, error, 0.0))
            return
        if self._is_quick(sum([one.size for one in group])):
            done = self._flush(group)
            self._usual_flush_s += 0.2 * (done.seconds - self._usual_flush_s)
            self._flushed(done)
        else:
            self._inbox.put(group)

    def _admitted(self, waiting: _Waiting) -> bool:
        """Whether the post got through the door; if not, it alone is told why."""
        try:
            waiting.admission = waiting.admit()
        except Exception as error:  # noqa: BLE001  # whatever it is must not hold up the others
            self._queued -= waiting.size
            waiting.pending.fail(error)
            return False
        return True

    def _is_quick(self, size: int) -> bool:
        """Whether to flush a group of so many events on the loop. Not while decisions are being made, which
        would wait for the disk, and never where nobody waits (their records)."""
        if not 0 < size <= QUICK_GROUP or self._is_deciding():
            return False
        if self._usual_flush_s < QUICK_FLUSH_S:
            return True
        self._until_probe -= 1
        if self._until_probe > 0 or self._usual_thread_s > SLOW_FLUSH_S:
            return False
        self._until_probe = PROBE_EVERY
        return True

    def _is_deciding(self) -> bool:
        return perf_counter() - self._nudged_at < DECIDING_S

    def _flush(self, group: list[_Waiting]) -> _Flush:
        error: Exception | None = None
        started = perf_counter()
        try:
            self.engine.flush()
        except Exception as problem:  # noqa: BLE001  # the edge of the loop or thread: it reaches who waits
            error = problem
        return _Flush(group, error, perf_counter() - started)

    def _flush_forever(self) -> None:
        while (group := self._inbox.get()) is not None:
            done = self._flush(group)
            self._usual_thread_s += 0.2 * (done.seconds - self._usual_thread_s)
            try:
                self._loop.call_soon_threadsafe(self._flushed, done)
            except RuntimeError:  # the loop is gone: nobody waits any more
                return

    def _flushed(self, flush: _Flush) -> None:
        self._flushing = False
        self._group = []
        if flush.error is not None:
            self._fail(f"the journal cannot be written ({flush.error})", flush.group)
            return
        size = sum(waiting.size for waiting in flush.group)
        self.metrics.flush(flush.seconds, size)
        if size:
            self._rate += 0.1 * (size / max(flush.seconds, 1e-4) - self._rate)
        folding = bool(self._unfolded)
        self._unfolded.extend(flush.group)
        if self._waiting or self._is_overdue:
            self._begin()  # where a thread flushes, the disk works while the loop folds
        if not folding:
            self._fold()

    def _fold(self) -> None:
        """Fold and acknowledge in pieces; the loop looks up between slices."""
        unfolded = self._unfolded
        slice_s, enough = (SHORT_SLICE_S, SHORT_PIECE) if self._is_deciding() else (SLICE_S, PIECE)
        deadline = perf_counter() + slice_s
        while unfolded:
            piece = [unfolded.popleft()]
            size = piece[0].size
            while unfolded and size < enough:
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
                waiting.pending.succeed(waiting.admission)
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
            waiting.pending.fail(StorageError(what, remedy="retry later; see /ready"))
        self._unfolded.clear()
        self._waiting.clear()
        self._queued = 0
        self._nudged = self._is_overdue = False
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


def _same(admission: Admission) -> Admission:
    return admission
