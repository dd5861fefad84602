"""Tombstones of a cluster: who was erased or is kept out, beside the leaves, in the same transactions.

A worker keeps them in its state and changelog, the serving copy has them for the doors. They lie under a
keyed hash of the identifier, so that what is left of somebody who was erased does not name them.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import NamedTuple

from opportune.clock import Millis
from opportune.errors import Corrupt
from opportune.privacy.order import Order
from opportune.streams.marks import FORMAT

STATE = b"\x00erased:"
"""Begins the key of a tombstone in a worker's state; no identifier begins with a zero byte."""

NEVER: Millis = -(1 << 62)
_body = struct.Struct(">qQ?")


class Stone(NamedTuple):
    """What happened or was received up to ``at`` stays out, and while ``suppressed`` everything. ``seq`` is
    the order's place in its partition."""

    at: Millis = NEVER
    seq: int = 0
    suppressed: bool = False

    def refuses(self, *times: Millis) -> bool:
        """Whether something with any of these times is to stay out."""
        return self.suppressed or min(times) <= self.at

    def after(self, order: Order, seq: int) -> Stone:
        """As it is once the order has been carried out."""
        suppressed = order.suppress or (self.suppressed and not order.lifted)
        return Stone(max(self.at, order.time) if order.erases else self.at, seq, suppressed)


NO_STONE = Stone()


class Hashes:
    """Keyed hashes of identifiers, the same in every process of a cluster. 1 us each."""

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(key).digest()

    def of(self, identifier: bytes) -> bytes:
        """16 bytes."""
        return blake2b(identifier, key=self._key, digest_size=16).digest()


def packed(stone: Stone) -> bytes:
    return FORMAT + _body.pack(*stone)


def unpacked(data: bytes) -> Stone:
    """Raises :class:`Corrupt` for bytes that are no tombstone."""
    if data[:1] != FORMAT or len(data) != 1 + _body.size:
        raise Corrupt("not a tombstone", seen=data[:1], remedy="rebuild the worker's state from the journal")
    return Stone(*_body.unpack_from(data, 1))
