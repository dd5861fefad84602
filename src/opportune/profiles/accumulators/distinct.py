"""How many different values: exact while few, then a HyperLogLog sketch (Flajolet et al., 2007).

The state is up to 64 hashes of 64 bits, and 512 registers from then on: which of the two, and its content, is
a function of the set of values alone, so combining is exact in both forms. Standard error of the sketch is
1.04 / sqrt(512) = 4.6 %, with linear counting in its low range.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.clock import Millis

EXACT = 64
PRECISION = 9
REGISTERS = 1 << PRECISION
_REST = 64 - PRECISION
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)


@lru_cache(maxsize=65_536)
def hash64(text: str) -> int:
    """The same on every machine. 0.06 us when seen before, 0.8 us else."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class Distinct:
    """The number of different values, by their text.

    State: None, then a sorted sequence of hashes that is never changed in place (most rows hold a few, and a
    set would take ten times the memory), then registers.
    """

    zero: Any = None
    plain = False

    def add(self, state: Any, value: str, time: Millis) -> Any:
        hashed = hash64(value)
        if state is None:
            return (hashed,)
        if type(state) is bytearray:
            _set(state, hashed)
            return state
        if hashed in state:
            return state
        if len(state) == EXACT:
            return _registers([*state, hashed])
        place = bisect(state, hashed)
        return (*state[:place], hashed, *state[place:])

    def merge(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return self.copy(b if a is None else a)
        if type(b) is bytearray:
            a, b = b, a
        if type(a) is not bytearray:
            both = {*a, *b}
            return tuple(sorted(both)) if len(both) <= EXACT else _registers(both)
        out = a.copy()
        if type(b) is bytearray:
            np.maximum(_view(out), _view(b), out=_view(out))
        else:
            for hashed in b:
                _set(out, hashed)
        return out

    def copy(self, state: Any) -> Any:
        return state.copy() if type(state) is bytearray else state

    def read(self, state: Any, now: Millis) -> int:
        if state is None:
            return 0
        return _estimate(state) if type(state) is bytearray else len(state)

    def pack(self, state: Any) -> Any:
        return bytes(state) if type(state) is bytearray else state

    def unpack(self, packed: Any) -> Any:
        return bytearray(packed) if type(packed) is bytes else packed


def _view(registers: bytearray) -> npt.NDArray[np.uint8]:
    return np.frombuffer(registers, dtype=np.uint8)


def _registers(hashes: Iterable[int]) -> bytearray:
    out = bytearray(REGISTERS)
    for hashed in hashes:
        _set(out, hashed)
    return out


def _set(registers: bytearray, hashed: int) -> None:
    index = hashed >> _REST
    # The position of the leftmost one among the remaining bits, counted from 1.
    leading = _REST - (hashed & ((1 << _REST) - 1)).bit_length() + 1
    if leading > registers[index]:
        registers[index] = leading


def _estimate(registers: bytearray) -> int:
    # Powers of two add up exactly: no order of summing can matter.
    raw = _ALPHA * REGISTERS * REGISTERS / float(np.ldexp(1.0, -_view(registers).astype(np.int64)).sum())
    empty = registers.count(0)
    if raw <= 2.5 * REGISTERS and empty:
        raw = REGISTERS * math.log(REGISTERS / empty)
    return round(raw)
