"""Records as a decision reads them: leaves from the serving copy, what all share from this process."""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opportune.engine import keys
from opportune.errors import StorageError
from opportune.events.event import Identifier
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.stores.cache import Codec, RecordCache
from opportune.stores.records import RecordStore
from opportune.streams.leaf_fold import whole
from opportune.streams.serving_copy import END, LEAF, SESSIONS, STAMP_BYTES, ServingCopy
from opportune.streams.sessions import session_of
from opportune.streams.stones import NO_STONE, Stone, unpacked

MOST_ROUNDS = 6
"""Round trips for one person at most; two are usual, one when the person was here before."""

_offset = struct.Struct(">Q")


class _Held:
    """What is held of one identifier: the bytes of both records, the leaf made of them, the tombstone, when
    it was read."""

    __slots__ = ("data", "end", "leaf", "read_at", "stone")

    def __init__(
        self, data: bytes | None, end: bytes | None, leaf: Leaf, stone: Stone, read_at: float
    ) -> None:
        self.data = data
        self.end = end
        self.leaf = leaf
        self.stone = stone
        self.read_at = read_at


class ServingRecords(RecordCache):
    """Leaves come from Redis, both records of an identifier in one round trip, and are decoded once as long
    as they stay the same. :meth:`refresh` reads people anew; :meth:`get` may be ``stale_s`` behind.
    Records of items and outcomes are this process's own, the newest ``own_capacity`` of them.

    ``changed`` is called with an identifier whose links are not what they were.
    """

    def __init__(
        self,
        copy: ServingCopy,
        schema: ProfileSchema,
        store: RecordStore,
        codec_for: Callable[[str], Codec],
        *,
        changed: Callable[[Identifier], None] = lambda identifier: None,
        capacity: int = 50_000,
        own_capacity: int = 200_000,
        stale_s: float = 0.5,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, codec_for)
        self._copy = copy
        self._schema = schema
        self._record_codec = codec_for
        self.changed = changed
        self._most_held = capacity
        self._own_capacity = own_capacity
        self._stale_s = stale_s
        self._timer = timer
        self._held: OrderedDict[Identifier, _Held] = OrderedDict()
        self._own: OrderedDict[str, Any] = OrderedDict()

    # -- people

    def refresh(
        self,
        identifiers: Iterable[Identifier],
        known: Iterable[Identifier] = (),
        *,
        within_s: float | None = None,
    ) -> None:
        """Read everybody who is linked to these identifiers, link by link; ``known`` are those who were found
        last time, read in the first round trip. Raises :class:`StorageError`, after ``within_s`` at the
        latest."""
        until = None if within_s is None else self._timer() + within_s
        read: set[Identifier] = set()
        wanted = list(dict.fromkeys((*identifiers, *known)))
        for _ in range(MOST_ROUNDS):
            if not wanted:
                return
            self._read(wanted, None if until is None else max(until - self._timer(), 0.0))
            read.update(wanted)
            near = [other for name in wanted for other in self._held[name].leaf.links]
            wanted = [name for name in dict.fromkeys(near) if name not in read]

    def get(self, key: str) -> Any:
        if key.startswith(keys.SESSION):
            return self._session(key)
        if not key.startswith(keys.LEAF):
            record = self._own.get(key)
            return self._record_codec(key).zero() if record is None else record
        held = self._recent(key[len(keys.LEAF) :])
        return self._schema.zero() if held is None else held.leaf

    def stone(self, identifier: Identifier) -> Stone:
        """Whether somebody was erased or is kept out; as old as :meth:`get`."""
        held = self._recent(identifier)
        return NO_STONE if held is None else held.stone

    def drop(self, identifier: Identifier) -> Leaf | None:
        """Hold nothing of an identifier any more; the leaf that was held."""
        held = self._held.pop(identifier, None)
        self.changed(identifier)
        return None if held is None else held.leaf

    def drop_own(self, key: str) -> None:
        """Hold a record of this process's own no more."""
        self._own.pop(key, None)

    def _session(self, key: str) -> Leaf:
        """A session of a leaf, one round trip; empty when Redis does not answer. The longest leaf that is
        held tells where the identifier ends."""
        rest = key[len(keys.SESSION) :]
        bars = [at for at, char in enumerate(rest) if char == "|"]
        at = next((at for at in reversed(bars) if rest[:at] in self._held), bars[0])
        name = rest[:at].encode("utf-8", "surrogatepass")
        schema: ProfileSchema = self._record_codec(key)  # type: ignore[assignment]  # the codec of sessions is their schema
        try:
            [data] = self._copy.get([self._copy.key(SESSIONS, name)])
        except StorageError:
            return schema.zero()
        return session_of(schema, None if data is None else data[STAMP_BYTES:], rest[at + 1 :])

    def _recent(self, identifier: Identifier) -> _Held | None:
        """None when Redis does not answer and nothing is held."""
        held = self._held.get(identifier)
        if held is None or self._timer() - held.read_at > self._stale_s:
            try:
                self._read([identifier])
            except StorageError:
                return held
            held = self._held[identifier]
        return held

    def peek(self, key: str) -> Any | None:
        return self.get(key)

    def touch(self, key: str) -> Any:
        """A record that this process learns by itself; leaves belong to the fold workers."""
        assert not key.startswith(keys.LEAF), key
        record = self._own.get(key)
        if record is None:
            record = self._own[key] = self._record_codec(key).zero()
            if len(self._own) > self._own_capacity:
                self._own.popitem(last=False)
        return record

    def _read(self, identifiers: Sequence[Identifier], within_s: float | None = None) -> None:
        names = [identifier.encode("utf-8", "surrogatepass") for identifier in identifiers]
        key = self._copy.key
        stone_key = self._copy.stone_key
        found = self._copy.get(
            [one for name in names for one in (key(LEAF, name), key(END, name), stone_key(name))], within_s
        )
        now = self._timer()
        for identifier, data, end, stone in zip(
            identifiers, found[::3], found[1::3], found[2::3], strict=True
        ):
            data, end = _alive(data), _alive(end)
            held = self._held.get(identifier)
            kept = NO_STONE if stone is None else unpacked(stone[STAMP_BYTES:])
            if held is not None and held.data == data and held.end == end:
                held.read_at, held.stone = now, kept
                self._held.move_to_end(identifier)
                continue
            leaf = self._leaf(data, end)
            if (leaf.links or held is not None) and (held is None or held.leaf.links != leaf.links):
                self.changed(identifier)
            self._held[identifier] = _Held(data, end, leaf, kept, now)
            self._held.move_to_end(identifier)
        while len(self._held) > max(self._most_held, len(identifiers)):
            self.changed(self._held.popitem(last=False)[0])

    def _leaf(self, data: bytes | None, end: bytes | None) -> Leaf:
        """Of both records one; its offset is the sum of what they have reached, so it changes with either."""
        if data is None and end is None:
            return self._schema.zero()
        leaf = self._schema.zero() if data is None else self._schema.decode(data[STAMP_BYTES:])
        reached = 0 if data is None else _offset.unpack_from(data)[0]
        if end is not None:
            leaf = whole(leaf, self._schema.decode(end[STAMP_BYTES:]))
            reached += _offset.unpack_from(end)[0]
        leaf.offset = reached
        return leaf


def _alive(record: bytes | None) -> bytes | None:
    """None for one that is deleted."""
    return None if record is None or len(record) == STAMP_BYTES else record
