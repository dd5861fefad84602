"""Windows over absolute buckets of event time.

A leaf keeps one row of accumulators per bucket: minutes for what is younger than about an hour, measured from
the leaf's own newest event, then hours, then days, then one row for everything older. As the newest event
advances rows roll up; a late event goes straight to the row that its age deserves. Where an event ends up is
a function of its time and of the newest time alone, so order of arrival cannot matter.

A window is read to the bucket: ``5m`` is the current minute and the five before it, ``1d`` the current hour
and the 24 before it, ``30d`` the current day (UTC) and the 30 before it. It never misses an event of its span
and may include up to one bucket more.
"""

from __future__ import annotations

import re

import msgspec

from opportune.clock import DAY, HOUR, MINUTE, Millis
from opportune.errors import InvalidDefinition

GRAINS: tuple[Millis, ...] = (MINUTE, HOUR, DAY)
REACH: tuple[int, ...] = (60, 48, 92)
"""The longest window per grain, in buckets: 60 minutes, 48 hours, 92 days."""
LEVEL_BITS = 2
LEVELS = 1 << LEVEL_BITS
LEVEL_MASK = LEVELS - 1
"""Row keys are ``bucket * LEVELS + level``; level 3 is the one row for everything older, bucket 0."""
OLD = 3
MINUTES = tuple(grain // MINUTE for grain in GRAINS)

_SPAN = re.compile(r"([1-9]\d{0,3})([mhd])\Z")
_UNIT = {"m": MINUTE, "h": HOUR, "d": DAY}


class Window(msgspec.Struct, frozen=True, gc=False):
    """``name`` as written (``1h``), ``span`` in buckets of level ``level``; ``all`` has level ``OLD``."""

    name: str
    level: int
    span: int

    def since(self, now: Millis) -> Millis:
        """The start of the oldest bucket inside, in milliseconds."""
        grain = GRAINS[self.level]
        return (now // grain - self.span) * grain


ALL = Window("all", OLD, 0)


def parse_window(text: str, where: str = "$.windows") -> Window:
    """``5m``, ``1h``, ``30d`` or ``all``; at most ``60m``, ``48h``, ``92d``.

    >>> parse_window("1h").span, parse_window("1h").level, parse_window("7d").span
    (60, 0, 7)
    """
    if text == "all":
        return ALL
    found = _SPAN.match(text)
    span_ms = int(found[1]) * _UNIT[found[2]] if found else 0
    for level, (grain, reach) in enumerate(zip(GRAINS, REACH, strict=True)):
        if span_ms and span_ms % grain == 0 and span_ms <= reach * grain:
            return Window(text, level, span_ms // grain)
    raise InvalidDefinition(
        "not a window",
        seen=text,
        where=where,
        remedy="write minutes up to 60m, hours up to 48h, days up to 92d, or all",
    )


def spans_of(windows: list[Window]) -> tuple[int, int, int]:
    """How many past buckets of each grain a leaf has to keep to read these windows; -1 for none."""
    spans = [-1, -1, -1]
    for window in windows:
        if window.level < OLD:
            spans[window.level] = max(spans[window.level], window.span)
    return spans[0], spans[1], spans[2]


def row_key(time: Millis, newest: Millis, spans: tuple[int, int, int]) -> int:
    """The row for an event at ``time`` in a leaf whose newest event is at ``newest >= time``."""
    for level in range(OLD):
        grain = GRAINS[level]
        bucket = time // grain
        if newest // grain - bucket <= spans[level]:
            return bucket * LEVELS + level
    return OLD


def oldest_kept(newest: Millis, spans: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Per level the oldest bucket that stays at that level."""
    return (
        newest // MINUTE - spans[0],
        newest // HOUR - spans[1],
        newest // DAY - spans[2],
        -(1 << 60),
    )


def row_start(key: int) -> Millis:
    """The first millisecond of a row; for the row of everything older, before all time."""
    level = key % LEVELS
    return key // LEVELS * GRAINS[level] if level < OLD else -(1 << 60)


def expires(key: int, spans: tuple[int, int, int]) -> int:
    """The minute (of the newest event) from which the row belongs to a coarser level."""
    level = key % LEVELS
    return (key // LEVELS + spans[level] + 1) * MINUTES[level] if level < OLD else 1 << 53
