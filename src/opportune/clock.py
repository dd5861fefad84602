"""Time as an argument: whole milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

import time
from collections.abc import Callable

Millis = int
Clock = Callable[[], Millis]

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR


def system_clock() -> Millis:
    return time.time_ns() // 1_000_000


class FixedClock:
    """A clock for tests: it moves only when told to.

    >>> clock = FixedClock(1_000)
    >>> clock.advance(5); clock()
    1005
    """

    def __init__(self, now: Millis = 1_760_000_000_000) -> None:
        self.now = now

    def __call__(self) -> Millis:
        return self.now

    def advance(self, ms: Millis) -> None:
        self.now += ms
