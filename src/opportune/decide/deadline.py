"""Time inside a decision: budgets per stage, and the guard that lets nothing keep the answer from coming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

DEFAULT_TOTAL_MS = 50.0
_NS_PER_MS = 1_000_000


class Stages:
    """Runs the stages of one decision, timed and guarded.

    ``budget_ms`` has ``total`` (50 where absent) and any stage's own. ``deadline_ns`` is the request's end on
    ``timer``'s scale, or None. A stage that would start late is skipped and named ``stage: late``; one that
    raises is skipped and named with its error; one that finishes after its budget keeps its result and is
    named ``stage: slow``.
    """

    def __init__(
        self,
        timer: Callable[[], int],
        budget_ms: Mapping[Any, float],
        deadline_ns: int | None,
        count: Callable[[str], None],
    ) -> None:
        self._timer = timer
        self._budget_ms = budget_ms
        self._count = count
        self.started_ns = timer()
        end = self.started_ns + int(budget_ms.get("total", DEFAULT_TOTAL_MS) * _NS_PER_MS)
        self.end_ns = end if deadline_ns is None else min(end, deadline_ns)
        self.degraded: list[str] = []
        self.took_ms: dict[str, float] = {}

    def late(self) -> bool:
        return self._timer() >= self.end_ns

    def degrade(self, stage: str, why: str) -> None:
        """Name a stage that did not do its work."""
        self.degraded.append(f"{stage}: {why}"[:200])
        self._count(stage.partition(".")[0])

    def run(self, stage: str, work: Callable[[], T], otherwise: T) -> T:
        """The stage's result, or ``otherwise`` when it raised. Adds its time to ``took_ms``."""
        return self._run(stage, work, otherwise, self._timer())[0]

    def _run(self, stage: str, work: Callable[[], T], otherwise: T, started: int) -> tuple[T, int]:
        """The result, and when it was there."""
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - the stage guard: one broken stage must not cost the answer
            self.degrade(stage, f"{type(error).__name__} {error}".strip())
            result = otherwise
        ended = self._timer()
        took = self.took_ms
        took[stage] = took.get(stage, 0.0) + (ended - started) / _NS_PER_MS
        return result, ended

    def time(self, stage: str, work: Callable[[], T]) -> T:
        """The stage's result, timed but not guarded: for what must not fail."""
        started = self._timer()
        result = work()
        took = (self._timer() - started) / _NS_PER_MS
        self.took_ms[stage] = self.took_ms.get(stage, 0.0) + took
        return result

    def run_if_time(
        self, stage: str, work: Callable[[], T], otherwise: T, *, until_ns: int | None = None
    ) -> T:
        """As :meth:`run`, unless the time is over, or ``until_ns``, the end of an enclosing stage."""
        end = self.end_ns if until_ns is None else min(until_ns, self.end_ns)
        started = self._timer()
        if started >= end:
            self.degrade(stage, "late")
            return otherwise
        result, ended = self._run(stage, work, otherwise, started)
        if ended > end:
            self.degrade(stage, f"slow ({self.took_ms[stage]:.1f} ms)")
        return result

    def until(self, stage: str) -> int:
        """When a stage that begins now must be over, in ``timer``'s nanoseconds."""
        own = self._budget_ms.get(stage)
        return self.end_ns if own is None else min(self.end_ns, self._timer() + int(own * _NS_PER_MS))

    def finish(self) -> dict[str, float]:
        """The timings with the total, in milliseconds to the microsecond."""
        total = (self._timer() - self.started_ns) / _NS_PER_MS
        told = {"total": int(total * 1_000 + 0.5) / 1_000}  # what round() says, in a third of its time
        for stage, ms in self.took_ms.items():
            told[stage] = int(ms * 1_000 + 0.5) / 1_000
        return told
