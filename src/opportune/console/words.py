"""Times, amounts and values as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from opportune.clock import DAY, HOUR, MINUTE, SECOND, Millis


def moment(ms: Millis | None) -> str:
    """A time in UTC, to the second.

    >>> moment(0), moment(None)
    ('1970-01-01 00:00:00', '')
    """
    if ms is None:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def iso(ms: Millis | None) -> str:
    """For ``<time datetime>``."""
    return moment(ms).replace(" ", "T") + "Z" if ms is not None else ""


def ago(ms: Millis | None, now: Millis) -> str:
    """How long before ``now``, in the largest unit that fits.

    >>> ago(1_000, 61_000), ago(0, 3 * 86_400_000), ago(5, 0)
    ('1 min ago', '3 d ago', 'now')
    """
    if ms is None:
        return ""
    past = now - ms
    if past < SECOND:
        return "now"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if past >= unit:
            return f"{past // unit} {name} ago"
    return "now"


def value(given: Any) -> str:
    """A feature or trait in a table cell.

    >>> value(3.14159), value(True), value(["a", 1]), value(None), value(1200.0)
    ('3.142', 'yes', '["a",1]', 'none', '1,200')
    """
    if given is None:
        return "none"
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, int):
        return f"{given:,}"
    if isinstance(given, float):
        return f"{given:,.0f}" if given == int(given) and abs(given) < 1e15 else f"{given:,.3f}"
    if isinstance(given, str):
        return given
    return msgspec.json.encode(given).decode()


def feature(given: Any, name: str) -> str:
    """A feature's value, in the unit that its name tells: a recency is seconds.

    >>> feature(7_200.5, "order_recency"), feature(3, "views_1h")
    ('2 h', '3')
    """
    if name.endswith("_recency") and isinstance(given, int | float):
        return ago(0, int(given * 1000)).removesuffix(" ago")
    return value(given)


def plain(given: Any) -> str:
    """A setting in words; empty for what is not set.

    >>> plain({"window": "30d", "names": []}), plain(["cart", "buy"]), plain({"items": []}), plain(False)
    ('window 30d', 'cart, buy', '', '')
    """
    if given is None or given is False:
        return ""
    if isinstance(given, dict):
        parts = ((name, plain(inner)) for name, inner in given.items())
        return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in parts if text)
    if isinstance(given, list | tuple):
        return ", ".join(filter(None, map(plain, given)))
    return value(given).replace("_", " ")


def pretty(given: Any) -> str:
    """JSON with line breaks, for reading."""
    return msgspec.json.format(msgspec.json.encode(given), indent=2).decode()
