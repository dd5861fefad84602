"""Event time: client timestamps in every form that clients send, corrected for the client's clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from opportune.clock import DAY, MINUTE, Millis

EARLIEST: Final[Millis] = 631_152_000_000
"""1990-01-01 UTC. Nothing that this engine is told about happened earlier: such a time means a clock that was
never set. Everything from then on is history, however old, and lands in its own window."""

NOTED_AHEAD: Final[Millis] = MINUTE
"""An event time later than its arrival is always clamped to the arrival; beyond this much it is noted too."""

_LATEST: Final[Millis] = 253_402_300_799_999
_SECONDS_BELOW: Final = 1e11
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Sent = str | int | float | None


class BadTime(ValueError):
    """Not a time in any form that we read."""


def read(sent: Sent) -> Millis | None:
    """A client's timestamp in milliseconds; None when absent or blank. 0.4 us. Raises BadTime.

    Text is ISO 8601 (no zone means UTC; fractions beyond microseconds are cut off) or a number in digits.
    Numbers are seconds below 1e11 (year 5138) and milliseconds from there on.

    >>> read("2026-11-21T20:46:43.531Z"), read(1795293603.531), read("1795293603531"), read(" ")
    (1795294003531, 1795293603531, 1795293603531, None)
    """
    if type(sent) is str:
        try:
            moment = datetime.fromisoformat(sent)
        except ValueError:
            return _unusual(sent)
        if moment.tzinfo is None and len(sent) > 8 and sent.isdigit():
            return _number(float(sent))  # 13 digits also pass for year, month, day, hour, minute
        return instant(moment)
    return None if sent is None else _number(float(sent))


def instant(moment: datetime) -> Millis:
    """A moment as milliseconds, rounded down; without a zone it is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return since.days * DAY + since.seconds * 1_000 + since.microseconds // 1_000


def _unusual(sent: str) -> Millis | None:
    text = sent.strip()
    if not text:
        return None
    if text != sent:
        return read(text)
    if len(text) <= 20 and text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
        return _number(float(text))
    raise BadTime(f"not an ISO 8601 time or a number of seconds or milliseconds: {text[:60]!r}")


def _number(value: float) -> Millis:
    if not math.isfinite(value):
        raise BadTime(f"not a time: {value!r}")
    millis = value if abs(value) >= _SECONDS_BELOW else value * 1_000
    if not -_LATEST <= millis <= _LATEST:
        raise BadTime(f"outside the years 1 to 9999: {value!r}")
    return round(millis)


def corrected(occurred: Millis | None, sent_at: Millis | None, received: Millis) -> tuple[Millis, str]:
    """Event time and a note (empty, ``future`` or ``unset``).

    With a sending time, the client's clock error and the way here are taken out:
    ``received - (sent_at - occurred)``, exact even for a clock that stands in 1970. Without, the client's
    time is believed. Then two bounds: not after its arrival, not before :data:`EARLIEST` (becomes the
    arrival). Depends on the arguments only, so that a replay gives the same time.

    >>> corrected(1_000, 1_500, 1_760_000_000_000)
    (1759999999500, '')
    """
    if occurred is None:
        return received, ""
    time = occurred if sent_at is None else received - (sent_at - occurred)
    if time > received:
        return received, "future" if time > received + NOTED_AHEAD else ""
    if time < EARLIEST <= received:
        return received, "unset"
    return time, ""
