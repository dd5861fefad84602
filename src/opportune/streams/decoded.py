"""Decoded leaves between two events of the same leaf: decoding costs more than folding."""

from __future__ import annotations

from collections import OrderedDict

from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema


class Decoded:
    """Leaves as they were last encoded, at hand for the next event: taken only when the state holds exactly
    those bytes, so a commit that failed or a partition that moved can never be seen through it."""

    def __init__(self, schema: ProfileSchema, capacity: int = 20_000) -> None:
        self._schema = schema
        self._capacity = capacity
        self._known: OrderedDict[bytes, tuple[bytes, Leaf]] = OrderedDict()

    def take(self, key: bytes, data: bytes) -> Leaf:
        """The leaf of these bytes, the caller's to change."""
        known = self._known.pop(key, None)
        if known is not None and known[0] == data:
            return known[1]
        return self._schema.decode(data) if data else self._schema.zero()

    def encode(self, key: bytes, leaf: Leaf) -> bytes:
        """Its bytes; it must not be changed afterwards but through :meth:`take`."""
        data = self._schema.encode(leaf)
        self._known[key] = data, leaf
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return data
