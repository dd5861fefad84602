"""How fast things go right now, from the newest events and decisions: one minute, second by second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from opportune.clock import SECOND, Clock, Millis

SECONDS = 60
KEEP = 4_000
AT_ONCE = 500

Recent = Callable[[int, int], list[dict[str, Any]]]
"""``recent(limit, after_seq)``: newest first, each with ``seq`` and a time."""


class Reading(NamedTuple):
    """Counts per second, oldest first (60 of them, the last one is the last full second), and the median and
    99th percentile of decision times in ms (None where there was no decision)."""

    events: list[int]
    decisions: list[int]
    p50_ms: float | None
    p99_ms: float | None

    @property
    def events_per_s(self) -> float:
        return sum(self.events[-10:]) / 10

    @property
    def decisions_per_s(self) -> float:
        return sum(self.decisions[-10:]) / 10


class Pulse:
    """Asks only for what is new since it was last asked, so that looking costs next to nothing.

    Between two looks at most 500 entries are seen; when more came, the rates are those of the newest 500.
    """

    def __init__(self, events: Recent, decisions: Recent, clock: Clock) -> None:
        self._clock = clock
        self._events = _Stream(events, "received")
        self._decisions = _Stream(decisions, "time")

    def read(self) -> Reading:
        now = self._clock()
        self._events.catch_up()
        self._decisions.catch_up()
        since = now - SECONDS * SECOND
        times = sorted(ms for at, ms in self._decisions.seen if at >= since)
        return Reading(
            _per_second(self._events.seen, now),
            _per_second(self._decisions.seen, now),
            percentile(times, 50) if times else None,
            percentile(times, 99) if times else None,
        )


class _Stream:
    def __init__(self, recent: Recent, time_field: str) -> None:
        self._recent = recent
        self._field = time_field
        self._last = 0
        self.seen: deque[tuple[Millis, float]] = deque(maxlen=KEEP)

    def catch_up(self) -> None:
        fresh = self._recent(AT_ONCE, self._last)
        if not fresh:
            return
        self._last = fresh[0]["seq"]
        for entry in reversed(fresh):
            self.seen.append((entry[self._field], float(entry.get("took_ms", {}).get("total", 0.0))))


def _per_second(seen: deque[tuple[Millis, float]], now: Millis) -> list[int]:
    counts = [0] * SECONDS
    end = now // SECOND
    for at, _ in seen:
        back = end - at // SECOND
        if 1 <= back <= SECONDS:
            counts[SECONDS - back] += 1
    return counts


def percentile(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile of a sorted, non-empty list.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50), percentile([1.0, 2.0, 3.0, 4.0], 99)
    (2.0, 4.0)
    """
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[rank - 1]
