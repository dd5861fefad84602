"""Rates from the newest entries, with a clock that is told the time."""

from __future__ import annotations

from typing import Any

from opportune.clock import SECOND, FixedClock
from opportune.console.pulse import Pulse

NOW = 1_760_000_000_000


class Log:
    """Entries as the engine lists them, newest first; remembers what it was asked."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.asked: list[int] = []

    def add(self, time: int, ms: float = 0.0) -> None:
        entry = {"seq": len(self.entries) + 1, "received": time, "time": time, "took_ms": {"total": ms}}
        self.entries.insert(0, entry)

    def recent(self, limit: int, after_seq: int) -> list[dict[str, Any]]:
        self.asked.append(after_seq)
        return [entry for entry in self.entries if entry["seq"] > after_seq][:limit]


def test_counts_per_second_without_the_second_under_way() -> None:
    clock, events, decisions = FixedClock(NOW), Log(), Log()
    for back in (61, 60, 2, 2, 1, 0):
        events.add(NOW - back * SECOND)
    for ms in (1.0, 2.0, 3.0, 40.0):
        decisions.add(NOW - SECOND, ms)
    reading = Pulse(events.recent, decisions.recent, clock).read()
    assert reading.events == [1] + [0] * 57 + [2, 1]
    assert reading.events_per_s == 3 / 10
    assert reading.decisions_per_s == 4 / 10
    assert (reading.p50_ms, reading.p99_ms) == (2.0, 40.0)


def test_nothing_yet() -> None:
    reading = Pulse(Log().recent, Log().recent, FixedClock(NOW)).read()
    assert (reading.events_per_s, reading.p50_ms, reading.p99_ms) == (0.0, None, None)


def test_asks_only_for_what_is_new() -> None:
    clock, events = FixedClock(NOW), Log()
    pulse = Pulse(events.recent, Log().recent, clock)
    events.add(NOW)
    pulse.read()
    events.add(NOW)
    events.add(NOW)
    clock.advance(SECOND)
    assert pulse.read().events[-1] == 3
    assert events.asked == [0, 1]
