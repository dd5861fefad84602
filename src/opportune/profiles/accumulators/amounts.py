"""Counts, sums, extremes and means, in whole micro-units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opportune.clock import Millis
from opportune.profiles.accumulators.base import MICRO, micros


class Count:
    """How many. ``add`` ignores the value."""

    zero: Any = 0
    plain = True

    def add(self, state: int, value: Any, time: Millis) -> int:
        return state + 1

    def merge(self, a: int, b: int) -> int:
        return a + b

    def copy(self, state: int) -> int:
        return state

    def read(self, state: int, now: Millis) -> int:
        return state

    def pack(self, state: int) -> int:
        return state

    def unpack(self, packed: int) -> int:
        return packed


class Sum:
    """The sum of amounts, exact to a millionth: state in micro-units."""

    zero: Any = 0
    plain = True

    def add(self, state: int, value: Any, time: Millis) -> int:
        amount = micros(value)
        return state if amount is None else state + amount

    def merge(self, a: int, b: int) -> int:
        return a + b

    def copy(self, state: int) -> int:
        return state

    def read(self, state: int, now: Millis) -> float:
        return state / MICRO

    def pack(self, state: int) -> int:
        return state

    def unpack(self, packed: int) -> int:
        return packed


class Extreme:
    """The largest (or smallest) amount; None before the first."""

    zero: Any = None
    plain = True

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def add(self, state: int | None, value: Any, time: Millis) -> int | None:
        amount = micros(value)
        if amount is None or (state is not None and (amount - state) * self._sign <= 0):
            return state
        return amount

    def merge(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return a if (a - b) * self._sign >= 0 else b

    def copy(self, state: int | None) -> int | None:
        return state

    def read(self, state: int | None, now: Millis) -> float | None:
        return None if state is None else state / MICRO

    def pack(self, state: int | None) -> int | None:
        return state

    def unpack(self, packed: int | None) -> int | None:
        return packed


class Minimum(Extreme):
    def __init__(self) -> None:
        super().__init__(-1)


class Maximum(Extreme):
    def __init__(self) -> None:
        super().__init__(1)


class Mean:
    """The mean amount; state is (sum in micro-units, how many), None before the first."""

    zero: Any = None
    plain = True

    def add(self, state: Sequence[int] | None, value: Any, time: Millis) -> Sequence[int] | None:
        amount = micros(value)
        if amount is None:
            return state
        return (amount, 1) if state is None else (state[0] + amount, state[1] + 1)

    def merge(self, a: Sequence[int] | None, b: Sequence[int] | None) -> Sequence[int] | None:
        if a is None or b is None:
            return b if a is None else a
        return a[0] + b[0], a[1] + b[1]

    def copy(self, state: Sequence[int] | None) -> Sequence[int] | None:
        return state

    def read(self, state: Sequence[int] | None, now: Millis) -> float | None:
        return None if state is None else state[0] / state[1] / MICRO

    def pack(self, state: Sequence[int] | None) -> Sequence[int] | None:
        return state

    def unpack(self, packed: Sequence[int] | None) -> Sequence[int] | None:
        return packed
