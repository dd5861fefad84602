"""What came last, and how long ago."""

from __future__ import annotations

from bisect import insort
from heapq import merge as merge_sorted
from typing import Any

from opportune.clock import Millis
from opportune.profiles.accumulators.base import MAX_CHARS

MAX_LENGTH = 50


class Recency:
    """Seconds since the latest event; None when there was none. State: the latest event time."""

    zero: Any = None
    plain = True

    def add(self, state: Millis | None, value: Any, time: Millis) -> Millis:
        return time if state is None or time > state else state

    def merge(self, a: Millis | None, b: Millis | None) -> Millis | None:
        if a is None or b is None:
            return b if a is None else a
        return max(a, b)

    def copy(self, state: Millis | None) -> Millis | None:
        return state

    def read(self, state: Millis | None, now: Millis) -> float | None:
        return None if state is None else max(0, now - state) / 1000

    def pack(self, state: Millis | None) -> Millis | None:
        return state

    def unpack(self, packed: Millis | None) -> Millis | None:
        return packed


class Age(Recency):
    """Seconds since the first event; None when there was none. State: the earliest event time."""

    def add(self, state: Millis | None, value: Any, time: Millis) -> Millis:
        return time if state is None or time < state else state

    def merge(self, a: Millis | None, b: Millis | None) -> Millis | None:
        if a is None or b is None:
            return b if a is None else a
        return min(a, b)


class LastValues:
    """The last ``n`` values by event time, oldest first, as text (amounts keep their Python spelling).
    State: a sorted list of (time, text); values of one instant are ordered by text."""

    zero: Any = None
    plain = False

    def __init__(self, n: int) -> None:
        self.n = n

    def add(self, state: list[tuple[Millis, str]] | None, value: Any, time: Millis) -> Any:
        entry = (time, value[:MAX_CHARS])
        if state is None:
            return [entry]
        if entry >= state[-1]:
            state.append(entry)
        else:
            insort(state, entry)
        if len(state) > self.n:
            del state[0]
        return state

    def merge(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return self.copy(b if a is None else a)
        return list(merge_sorted(a, b))[-self.n :]

    def copy(self, state: Any) -> Any:
        return None if state is None else state.copy()

    def read(self, state: Any, now: Millis) -> list[str]:
        return [] if state is None else [text for _, text in state]

    def pack(self, state: Any) -> Any:
        return state

    def unpack(self, packed: Any) -> Any:
        return None if packed is None else [(time, text) for time, text in packed]
