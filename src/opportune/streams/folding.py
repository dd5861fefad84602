"""What happens to one message of a worker: its entries are folded into their leaves and sent on.

A leaf is encoded once per commit, however many of its events came in between: until then it is at hand, and
the state holds a token in its place, which is there only as long as that commit can succeed.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import Any

import msgspec
from quixstreams import message_context
from quixstreams.state import State

from opportune.decide.request import DecisionRecord
from opportune.engine.entries import Entry
from opportune.events.event import Event, Tally
from opportune.events.verdicts import DUPLICATE, STORED, SUPPRESSED
from opportune.privacy.order import Order
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.streams import leaf_fold, packs
from opportune.streams.gate import Gate
from opportune.streams.lineage import FoldVersion
from opportune.streams.marks import FORMAT, has, mark_of, packed, unpacked, with_mark
from opportune.streams.serving_copy import stamped
from opportune.streams.sessions import Sessions
from opportune.streams.shards import Shards
from opportune.streams.stones import NO_STONE, STATE, Hashes, Stone
from opportune.streams.stones import packed as packed_stone
from opportune.streams.stones import unpacked as unpacked_stone
from opportune.streams.topics import Topics

AT_ONCE = 200
"""Ends in one message at most: each is an event's identifiers, a few hundred bytes."""

STATELESS = b"m:"
"""Begins the state's key for messages of no person: only that they were here before is kept."""


class Out(msgspec.Struct, frozen=True, gc=False):
    """One message to send on; ``time`` is that of the newest that went into it."""

    topic: str
    key: bytes
    value: bytes
    time: int


class Held:
    """A leaf as it is, with the messages that it has had, and the bytes that the state has in its place.
    ``stone`` says what of its identifier's is to stay out."""

    __slots__ = ("leaf", "marks", "record", "state", "stone")

    def __init__(
        self, state: State[bytes, Any], record: bytes, marks: bytes, leaf: Leaf, stone: Stone
    ) -> None:
        self.state = state
        self.record = record
        self.marks = marks
        self.leaf = leaf
        self.stone = stone


class Leaves:
    """The leaves that a worker works on, by identifier. What is held is believed only when the state holds
    exactly the bytes that belong to it, so a commit that failed or a partition that moved is never seen."""

    def __init__(self, schema: ProfileSchema, hashes: Hashes, capacity: int = 20_000) -> None:
        self._schema = schema
        self._hashes = hashes
        self._capacity = capacity
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._changed: dict[bytes, Held] = {}
        self._gone: dict[bytes, int] = {}
        self._stones: dict[bytes, Stone] = {}
        self._tokens = count()

    def take(self, key: bytes, state: State[bytes, Any]) -> Held:
        """The leaf, the caller's to change; after which :meth:`keep`."""
        record = state.get_bytes(key)
        held = self._changed.get(key) or self._held.get(key)
        if held is not None and held.record == record:
            return held
        stone = self.stone(key, state)
        if record is None:
            return Held(state, b"", b"", self._schema.zero(), stone)
        marks, data = unpacked(record)
        return Held(state, record, marks, self._schema.decode(data) if data else self._schema.zero(), stone)

    def keep(self, key: bytes, held: Held, state: State[bytes, Any]) -> None:
        """It was changed: the next commit has it."""
        if self._changed.get(key) is not held:
            held.state = state
            held.record = FORMAT + b"token %d" % next(self._tokens)
            state.set_bytes(key, held.record)
            self._changed[key] = held

    def stone(self, key: bytes, state: State[bytes, Any]) -> Stone:
        """What is to stay out; asked once for every leaf that is not at hand."""
        data = state.get_bytes(STATE + self._hashes.of(key))
        return NO_STONE if data is None else unpacked_stone(data)

    def bury(self, key: bytes, order: Order, seq: int, state: State[bytes, Any]) -> None:
        """Carry out an order about this leaf. One that came before, by way of another leaf of the person,
        leaves the links that were told of since."""
        stone = self.stone(key, state)
        came_before = order.erases and stone.at >= order.time
        stone = stone.after(order, seq)
        mark = self._hashes.of(key)
        state.set_bytes(STATE + mark, packed_stone(stone))
        self._stones[mark] = stone
        held = self.take(key, state)
        held.stone = stone
        if not order.erases:
            return
        newer = {o: e for o, e in held.leaf.links.items() if e.time > order.time} if came_before else {}
        if newer:
            held.leaf.links = newer
            held.leaf.offset = seq
            self.keep(key, held, state)
        else:
            self._changed.pop(key, None)
            self._held.pop(key, None)
            state.delete(key)
            self._gone[key] = seq

    def stones(self) -> dict[bytes, bytes]:
        """The tombstones since the last commit, by hash, as the serving copy holds them."""
        out = {mark: stamped(stone.seq, packed_stone(stone)) for mark, stone in self._stones.items()}
        self._stones.clear()
        return out

    def encoded(self) -> dict[bytes, bytes]:
        """What has changed since the last commit, written into the state; by identifier, as the serving copy
        holds it."""
        out = {key: stamped(seq, b"") for key, seq in self._gone.items()}
        self._gone.clear()
        for key, held in self._changed.items():
            data = self._schema.encode(held.leaf)
            held.record = packed(held.marks, data)
            held.state.set_bytes(key, held.record)
            out[key] = stamped(held.leaf.offset, data)
            self._held[key] = held
            self._held.move_to_end(key)
        self._changed.clear()
        while len(self._held) > self._capacity:
            self._held.popitem(last=False)
        return out

    def forget(self) -> None:
        """The commit did not happen, and what was folded for it will come again."""
        self._changed.clear()
        self._gone.clear()
        self._stones.clear()


class Folding:
    """Packs of ``events``: entries that were there before are dropped, the others folded and sent on with the
    commit: what a message costs further down is shared by all that a commit holds."""

    def __init__(
        self,
        schema: ProfileSchema,
        topics: Topics,
        shards: Shards,
        version: FoldVersion,
        hashes: Hashes,
        session: ProfileSchema,
    ) -> None:
        self._schema = schema
        self.sessions = Sessions(session)
        self._shards = shards
        self.gate = Gate(version)
        self._journal = topics.journal
        self._ends = topics.ends
        self.leaves = Leaves(schema, hashes)
        self._accepted: dict[bytes, list[bytes]] = {}
        self._told: dict[int, list[tuple[bytes, Event | Order]]] = {}
        self._newest = 0

    def __call__(
        self, value: bytes, key: bytes, timestamp: int, headers: object, state: State[bytes, Any]
    ) -> None:
        if not self.gate.admits(key, state):
            return
        found = packs.entries_of(value)
        offset = message_context().offset
        accepted: list[tuple[int, Entry]] = []
        corrected: dict[str, Tally] = {}
        for place, (time, entry) in enumerate(found):
            seq = packs.sequence(offset, place)
            if type(entry) is Order:
                self._order(entry, seq, state)
                if entry.is_first:
                    accepted.append((time, entry))
            elif type(entry) is Event:
                verdict = self._event(entry, seq, state)
                if verdict == STORED:
                    accepted.append((time, entry))
                    if len(entry.identifiers) > 1:
                        self._tell(entry)
                else:
                    _correct(corrected, entry.source, verdict)
            elif self._other(entry, seq, state):
                accepted.append((time, entry))
        accepted += [(found[-1][0], tally) for tally in corrected.values()]
        self._newest = max(self._newest, timestamp)
        if accepted:
            passed_on = packs.encode(accepted) if corrected or len(accepted) < len(found) else value
            self._accepted.setdefault(key, []).append(passed_on)

    def outgoing(self) -> list[Out]:
        """What this commit sends on: as few messages as it can be packed into. Afterwards nothing waits."""
        out = [
            Out(self._journal, key, pack, self._newest)
            for key, some in self._accepted.items()
            for pack in packs.joined(some)
        ]
        for shard, told in self._told.items():
            for start in range(0, len(told), AT_ONCE):
                pack = packs.encode(told[start : start + AT_ONCE])
                out.append(Out(self._ends, self._shards.keys[shard], pack, self._newest))
        self._drop()
        return out

    def forget(self) -> None:
        """The commit does not happen, and what was folded for it will come again."""
        self.leaves.forget()
        self.sessions.forget()
        self._drop()

    def _drop(self) -> None:
        self._accepted.clear()
        self._told.clear()
        self._newest = 0

    def _other(self, entry: Entry, seq: int, state: State[bytes, Any]) -> bool:
        """Whether what is no event is passed on."""
        if type(entry) is DecisionRecord and entry.identifiers:
            name = _bytes(entry.identifiers[0])
            held = self.leaves.take(name, state)
            if held.stone is not NO_STONE and held.stone.refuses(entry.time):
                return False
            leaf_fold.fold_decision(self._schema, held.leaf, entry, seq)
            self.leaves.keep(name, held, state)
        return True

    def _event(self, event: Event, seq: int, state: State[bytes, Any]) -> str:
        """What becomes of it, which its gateway could not know: a verdict."""
        mark = mark_of(event.source, event.message_id)
        if not event.identifiers:
            name = STATELESS + event.message_id.encode("utf-8", "surrogatepass")
            marks = unpacked(state.get_bytes(name) or packed(b"", b""))[0]
            if has(marks, mark):
                return DUPLICATE
            state.set_bytes(name, packed(with_mark(marks, mark), b""))
            return STORED
        name = _bytes(event.identifiers[0])
        held = self.leaves.take(name, state)
        if has(held.marks, mark):
            return DUPLICATE
        if held.stone is not NO_STONE and held.stone.refuses(event.time, event.received):
            return SUPPRESSED
        held.marks = with_mark(held.marks, mark)
        leaf_fold.fold_event(self._schema, held.leaf, event, seq)
        self.leaves.keep(name, held, state)
        self.sessions.fold(event, seq, state)
        return STORED

    def _order(self, order: Order, seq: int, state: State[bytes, Any]) -> None:
        """Somebody is erased or kept out. Every leaf of theirs tells the ends of all: so the last word that
        they hear comes after all that this leaf ever told them."""
        if order.name in order.members:
            self.leaves.bury(_bytes(order.name), order, seq, state)
            if order.erases:
                self.sessions.bury(_bytes(order.name), seq, state)
        else:
            _forget(self.leaves, order, seq, state)
        for other in order.members if order.erases and order.name in order.members else (order.name,):
            self._tell_of(other, msgspec.structs.replace(order, name=other))

    def _tell(self, event: Event) -> None:
        end = leaf_fold.end_of(event)
        for other in event.identifiers[1:]:
            self._tell_of(other, end)

    def _tell_of(self, identifier: str, told: Event | Order) -> None:
        name = _bytes(identifier)
        self._told.setdefault(self._shards.of(name), []).append((name, told))


class Ends:
    """A pack of ``ends``: what events said of their other identifiers."""

    def __init__(self, schema: ProfileSchema, version: FoldVersion, hashes: Hashes) -> None:
        self._schema = schema
        self.gate = Gate(version)
        self.leaves = Leaves(schema, hashes)

    def outgoing(self) -> list[Out]:
        """Nothing: nobody follows."""
        return []

    def forget(self) -> None:
        """The commit does not happen, and what was folded for it will come again."""
        self.leaves.forget()

    def __call__(
        self, value: bytes, key: bytes, timestamp: int, headers: object, state: State[bytes, Any]
    ) -> None:
        if not self.gate.admits(key, state):
            return
        offset = message_context().offset
        for place, (name, event) in enumerate(packs.ends_of(value)):
            seq = packs.sequence(offset, place)
            if isinstance(event, Order):
                if event.name in event.members:
                    self.leaves.bury(name, event, seq, state)
                else:
                    _forget(self.leaves, event, seq, state)
                continue
            held = self.leaves.take(name, state)
            if held.stone is not NO_STONE and held.stone.refuses(event.time, event.received):
                continue
            identifier = name.decode("utf-8", "surrogatepass")
            leaf_fold.fold_end(self._schema, held.leaf, event, identifier, seq)
            self.leaves.keep(name, held, state)


def _correct(tallies: dict[str, Tally], source: str, verdict: str) -> None:
    """Its gateway counted an event as stored that was not."""
    tally = tallies.setdefault(source, Tally(source))
    tally.stored -= 1
    if verdict == DUPLICATE:
        tally.duplicate += 1
    else:
        tally.suppressed += 1


def _forget(leaves: Leaves, order: Order, seq: int, state: State[bytes, Any]) -> None:
    """A neighbour of those who are erased knows them no more."""
    name = _bytes(order.name)
    held = leaves.take(name, state)
    if leaf_fold.forget(held.leaf, order.members, seq):
        leaves.keep(name, held, state)


def _bytes(identifier: str) -> bytes:
    return identifier.encode("utf-8", "surrogatepass")
