"""The append-only log of who touched what: what every learnt model is built from, and rebuilt from."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import islice

import msgspec
import numpy as np

from opportune.clock import MINUTE, Millis
from opportune.errors import Corrupt
from opportune.recommend.source import Interactions

CHUNK = 1 << 16
"""Rows of a full chunk. A full chunk never changes again, so a checkpoint writes it once."""
_ROW_BYTES = 8 + 8 + 4 + 1


_PIECE = 4096
"""Open sessions encoded at a stretch: one call for all would keep every other thread waiting."""
_LET_GO = 16
"""A sixteenth of the open sessions is forgotten at once, when there are too many."""

_VEIL_BYTES = 8
"""Of a leaf, and of a session id beside it. Two of 50,000 open sessions share one once in 10**10 logs."""

_VEILED = "\0"
"""Begins a digest; no identifier does."""

_OpenSession = tuple[str, int, Millis]
"""A leaf, with a session id on a second line where there is one, or the digest that stands for both; the
session's number; its last touch."""

_decode_open = msgspec.msgpack.Decoder(list[_OpenSession]).decode


class _State(msgspec.Struct, array_like=True):
    """What a checkpoint keeps beside the chunks. ``open``: pieces of an encoded list of (key, number, last
    time), least recent first; ``salt`` is that of keys that are digests."""

    offset: int
    rows: int
    first_chunk: int
    sessions: int
    open: list[bytes]
    salt: bytes = b""


class InteractionLog:
    """Growing columns in chunks of 65,536 rows, and the numbering of sessions.

    A session is one leaf's touches under one ``session_id``; without an id, a new one begins after
    ``gap`` milliseconds of event time without a touch. Sessions are numbered from 0 in order of their
    first row. At least the newest ``keep`` rows are held. The numbering remembers the ``open_sessions``
    most recently touched sessions; an older one that goes on gets a new number.

    Everything is a pure function of the sequence of appends: a log that was loaded from a checkpoint and
    given the same further appends is the same log. ``offset`` is the owner's: the last journal entry
    appended. ``append`` costs about 1.5 us; 21 bytes a row.
    """

    def __init__(
        self, *, keep: int = 10_000_000, gap: Millis = 30 * MINUTE, open_sessions: int = 200_000
    ) -> None:
        self.offset = 0
        self._keep = keep
        self._gap = gap
        self._open_sessions = open_sessions
        self._rows = 0
        self._first_chunk = 0
        self._sessions = 0
        self._open: dict[str, tuple[int, Millis]] = {}
        self._salt = b""
        self._chunks: list[Interactions] = []
        self._columns: tuple[memoryview, memoryview, memoryview, memoryview]

    def __len__(self) -> int:
        """Rows ever appended; the next row's number."""
        return self._rows

    @property
    def first(self) -> int:
        """Number of the oldest row held."""
        return self._first_chunk * CHUNK

    @property
    def sessions(self) -> int:
        """Sessions ever numbered."""
        return self._sessions

    def append(self, leaf: str, item: int, kind: int, time: Millis, session_id: str = "") -> int:
        """Record one touch and return the session's number."""
        session = self._number(leaf, session_id, time)
        at = self._rows % CHUNK
        if at == 0:
            self._chunks.append(_empty(CHUNK))
            if (len(self._chunks) - 2) * CHUNK >= self._keep:
                del self._chunks[0]
                self._first_chunk += 1
            self._open_columns()
        sessions, items, kinds, times = self._columns
        sessions[at] = session
        items[at] = item
        kinds[at] = kind
        times[at] = time
        self._rows += 1
        return session

    def _open_columns(self) -> None:
        """The newest chunk for writing: a memoryview takes a number in a third of numpy's time."""
        rows = self._chunks[-1]
        self._columns = rows.session.data, rows.item.data, rows.kind.data, rows.time.data

    def tail(self, first: int) -> Interactions:
        """The rows from number ``first`` on, oldest first. Within the newest chunk these are views."""
        return self.between(first, self._rows)

    def between(self, first: int, last: int) -> Interactions:
        """Rows ``first`` to ``last`` (exclusive), as far as they are held."""
        first = max(first, self.first)
        last = min(last, self._rows)
        if first >= last:
            return _empty(0)
        parts = []
        for number in range(first // CHUNK, (last - 1) // CHUNK + 1):
            start = number * CHUNK
            part = slice(max(first - start, 0), min(last - start, CHUNK))
            parts.append(_cut(self._chunks[number - self._first_chunk], part))
        if len(parts) == 1:
            return parts[0]
        return Interactions(
            session=np.concatenate([part.session for part in parts]),
            item=np.concatenate([part.item for part in parts]),
            kind=np.concatenate([part.kind for part in parts]),
            time=np.concatenate([part.time for part in parts]),
        )

    def forget(self, leaf: str) -> int:
        """No session of this leaf can be continued, and nothing here names the leaf any more; how many open
        sessions it had. O(open sessions)."""
        veiled = _veiled(leaf, self._salt)

        gone = [
            key for key in self._open if key == leaf or key.startswith(f"{leaf}\n") or key.startswith(veiled)
        ]
        for key in gone:
            del self._open[key]
        return len(gone)

    def veil(self, salt: bytes) -> None:
        """Name nobody in what is exported from now on: digests with this salt, or with the one that came with
        a loaded log, stand for the leaves. A log that is loaded from them goes on with the same sessions."""
        self._salt = self._salt or salt

    def chunks(self) -> range:
        """Numbers of the chunks held; all but the last are full and final."""
        return range(self._first_chunk, self._first_chunk + len(self._chunks))

    def export_chunk(self, number: int) -> bytes:
        """The rows of one chunk: the columns one after another, little-endian."""
        return _encode(self.between(number * CHUNK, (number + 1) * CHUNK))

    def export_state(self) -> bytes:
        """Everything but the rows. O(open sessions); :meth:`freeze` lets another thread do it."""
        return self.freeze().state()

    def freeze(self) -> Frozen:
        """The log as it is now, to be exported by another thread while appends go on. O(open sessions), but
        only a copy of references."""
        rows = {number: self.between(number * CHUNK, (number + 1) * CHUNK) for number in self.chunks()}
        counts = (self.offset, self._rows, self._first_chunk, self._sessions)
        return Frozen(counts, dict(self._open), rows, self._salt)

    def load(self, state: bytes, chunk: Callable[[int], bytes]) -> None:
        """Become the log that was exported; ``chunk`` gives the bytes of a chunk by its number.

        Raises :class:`Corrupt` when the parts do not fit together.
        """
        kept = msgspec.msgpack.decode(state, type=_State)
        chunks = []
        for number in range(kept.first_chunk, -(-kept.rows // CHUNK)):
            rows = _decode(chunk(number), number)
            expected = min(CHUNK, kept.rows - number * CHUNK)
            if len(rows) != expected:
                raise Corrupt(
                    f"chunk {number} of the interactions has the wrong number of rows, {expected} expected",
                    seen=len(rows),
                    remedy="restore a backup, or delete the checkpoint to rebuild it from the journal",
                )
            whole = _empty(CHUNK)
            for name in ("session", "time", "item", "kind"):
                getattr(whole, name)[:expected] = getattr(rows, name)
            chunks.append(whole)
        self.offset, self._rows, self._first_chunk = kept.offset, kept.rows, kept.first_chunk
        self._sessions, self._salt = kept.sessions, kept.salt
        self._open = {key: (n, last) for piece in kept.open for key, n, last in _decode_open(piece)}
        self._chunks = chunks
        if chunks:
            self._open_columns()

    def _number(self, leaf: str, session_id: str, time: Millis) -> int:
        key = f"{leaf}\n{session_id}" if session_id else leaf
        known = self._open.get(key)
        if known is None and self._salt:
            veiled = _veiled(key, self._salt)
            known = self._open.get(veiled)
            key = key if known is None else veiled
        if known is not None:
            number, last = known
            if session_id or -self._gap <= time - last <= self._gap:
                del self._open[key]
                self._open[key] = (number, max(last, time))
                return number
        number = self._sessions
        self._sessions += 1
        if known is None or time > known[1]:  # a late touch is a session of its own and does not end this one
            self._open.pop(key, None)
            self._open[key] = (number, time)
            if len(self._open) > self._open_sessions:
                for old in list(islice(self._open, 1 + self._open_sessions // _LET_GO)):
                    del self._open[old]
        return number


class Frozen:
    """One moment of a log. Rows that were appended never change, so the columns are views."""

    def __init__(
        self,
        counts: tuple[int, int, int, int],
        open_sessions: dict[str, tuple[int, Millis]],
        chunks: dict[int, Interactions],
        salt: bytes = b"",
    ) -> None:
        self._counts = counts
        self._open = open_sessions
        self._chunks = chunks
        self._salt = salt

    def chunk(self, number: int) -> bytes:
        """As :meth:`InteractionLog.export_chunk` was at that moment."""
        return _encode(self._chunks[number])

    def state(self) -> bytes:
        """As :meth:`InteractionLog.export_state` was at that moment."""
        entries = iter(self._open.items())
        pieces: list[bytes] = []
        salt = self._salt
        while piece := [(key, number, last) for key, (number, last) in islice(entries, _PIECE)]:
            if salt:
                piece = [(k if k.startswith(_VEILED) else _veiled(k, salt), n, t) for k, n, t in piece]
            pieces.append(msgspec.msgpack.encode(piece))
        return msgspec.msgpack.encode(_State(*self._counts, pieces, salt))


def _veiled(key: str, salt: bytes) -> str:
    """What stands for a leaf with or without a session id; it begins with what stands for the leaf."""
    leaf, _, session_id = key.partition("\n")
    parts = (leaf, session_id) if session_id else (leaf,)
    return _VEILED + "".join(
        blake2b(part.encode("utf-8", "surrogatepass"), key=salt, digest_size=_VEIL_BYTES).hexdigest()
        for part in parts
    )


def _encode(rows: Interactions) -> bytes:
    return b"".join(
        (
            rows.session.astype("<i8").tobytes(),
            rows.time.astype("<i8").tobytes(),
            rows.item.astype("<i4").tobytes(),
            rows.kind.tobytes(),
        )
    )


def _empty(rows: int) -> Interactions:
    return Interactions(
        session=np.zeros(rows, np.int64),
        item=np.zeros(rows, np.int32),
        kind=np.zeros(rows, np.int8),
        time=np.zeros(rows, np.int64),
    )


def _cut(rows: Interactions, part: slice) -> Interactions:
    return Interactions(rows.session[part], rows.item[part], rows.kind[part], rows.time[part])


def _decode(raw: bytes, number: int) -> Interactions:
    rows, rest = divmod(len(raw), _ROW_BYTES)
    if rest:
        raise Corrupt(
            f"chunk {number} of the interactions is cut off",
            seen=len(raw),
            remedy="restore a backup, or delete the checkpoint to rebuild it from the journal",
        )
    return Interactions(
        session=np.frombuffer(raw, "<i8", rows),
        time=np.frombuffer(raw, "<i8", rows, 8 * rows),
        item=np.frombuffer(raw, "<i4", rows, 16 * rows),
        kind=np.frombuffer(raw, "i1", rows, 20 * rows),
    )
