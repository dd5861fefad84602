"""Features of scope ``session`` on a cluster: the newest sessions of a leaf, kept beside it.

On one machine every session is a record of its own. A worker keeps those of a leaf in one, so that they go
with the leaf when its person is erased, and only the newest: whoever reads profiles asks for the current one.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
from quixstreams.state import State

from opportune.events.event import Event
from opportune.profiles.consent.policy import Use
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.streams.marks import FORMAT
from opportune.streams.serving_copy import stamped

STATE = b"\x00sessions:"
"""Begins the key of a leaf's sessions in a worker's state; no identifier begins with a zero byte."""

MOST_SESSIONS = 8
"""Of one leaf. A late event of an older session begins that one anew."""

_COLLECT = int(Use.COLLECT)
_seq = struct.Struct(">Q")
_BODY = len(FORMAT) + _seq.size
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def packed(seq: int, sessions: dict[str, bytes]) -> bytes:
    """Sessions by id, as of a message of the partition."""
    return FORMAT + _seq.pack(seq) + _encode(sessions)


def unpacked(data: bytes) -> dict[str, bytes]:
    """Raises ``msgspec.DecodeError`` for bytes that are no such record."""
    return _decode(data[_BODY:])


def seq_of(data: bytes) -> int:
    """The message that was folded in last."""
    return int(_seq.unpack_from(data, len(FORMAT))[0])


class Sessions:
    """What a worker does with them; nothing where no feature is declared."""

    def __init__(self, schema: ProfileSchema) -> None:
        self._schema = schema
        self._changed: dict[bytes, bytes] = {}

    def fold(self, event: Event, seq: int, state: State[bytes, Any]) -> None:
        """An event into its session, in the state at once. O(sessions of the leaf)."""
        if not self._schema.features or not event.session_id or event.withheld & _COLLECT:
            return
        name = event.identifiers[0].encode("utf-8", "surrogatepass")
        held = state.get_bytes(STATE + name)
        sessions = {} if held is None else unpacked(held)
        known = sessions.get(event.session_id)
        record = self._schema.zero() if known is None else self._schema.decode(known)
        self._schema.fold(record, event, seq)
        sessions[event.session_id] = self._schema.encode(record)
        if len(sessions) > MOST_SESSIONS:
            newest = {one: self._schema.decode(data).newest for one, data in sessions.items()}
            del sessions[min(sessions, key=lambda one: (newest[one], one))]
        data = packed(seq, sessions)
        state.set_bytes(STATE + name, data)
        self._changed[name] = stamped(seq, data)

    def bury(self, name: bytes, seq: int, state: State[bytes, Any]) -> None:
        """The person of the leaf is erased."""
        if state.get_bytes(STATE + name) is not None:
            state.delete(STATE + name)
            self._changed[name] = stamped(seq, b"")

    def changed(self) -> dict[bytes, bytes]:
        """What this commit changed, by identifier, as the serving copy holds it. Afterwards nothing waits."""
        out, self._changed = self._changed, {}
        return out

    def forget(self) -> None:
        """The commit did not happen."""
        self._changed.clear()


def session_of(schema: ProfileSchema, data: bytes | None, session_id: str) -> Leaf:
    """One session of a leaf, empty when it is unknown."""
    known = None if not data else unpacked(data).get(session_id)
    return schema.zero() if known is None else schema.decode(known)
