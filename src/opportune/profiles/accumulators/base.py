"""What every accumulator can do."""

from __future__ import annotations

from typing import Any, Protocol

from opportune.clock import Millis

MICRO = 1_000_000
"""Amounts are kept in whole millionths, so that sums do not depend on the order of adding."""

MAX_CHARS = 200
"""A longer text value is cut."""

LARGEST = 1e15
"""Amounts beyond this, either way, are left out."""


class Accumulator(Protocol):
    """A fold over single values. ``zero`` is the neutral state: 0, or None for states that are not numbers.

    ``plain`` says that the state is immutable and packs as it is. ``distinct``, ``last`` and
    ``affinity`` are given text and never an empty one.
    """

    zero: Any
    plain: bool

    def add(self, state: Any, value: Any, time: Millis) -> Any:
        """One value in, at event time ``time``; may reuse ``state``."""
        ...

    def merge(self, a: Any, b: Any) -> Any:
        """Both states together; neither is changed, and the result shares nothing mutable with them."""
        ...

    def copy(self, state: Any) -> Any: ...

    def read(self, state: Any, now: Millis) -> Any:
        """The value that a decision sees."""
        ...

    def pack(self, state: Any) -> Any:
        """As msgpack values, the same for the same state."""
        ...

    def unpack(self, packed: Any) -> Any: ...


def micros(value: Any) -> int | None:
    """A number as whole millionths; None for anything else, booleans, NaN and amounts over 1e15 included.

    >>> micros(2.55), micros(True), micros(float("nan"))
    (2550000, None, None)
    """
    if (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST:
        return round(value * MICRO)
    return None
