"""The audit log: every read of personal data and every change, each entry sealed with the one before.

One line of JSON per entry in ``audit/log.jsonl``. An entry's ``hash`` is taken over its own text and the hash
before it, so changing, removing or adding a line anywhere breaks every seal after it. Cutting off the newest
lines leaves a shorter chain that holds: keep the ``head`` that ``opportune audit verify`` prints somewhere
else, and give it back with ``--expect``.

Nobody's identifiers are in the log: they are pseudonyms, made with a key that is kept beside it, so that
the entries about somebody can be found by who may read the key, and by nobody else.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from opportune.clock import SECOND, Clock, Millis, system_clock
from opportune.errors import Corrupt
from opportune.stores.disk import translated

FOLDER = "audit"
LOG_FILE = "log.jsonl"
KEY_FILE = "key"
NOTHING_BEFORE = "0" * 64
FLUSH_EVERY: Millis = SECOND
"""Reads are flushed to the disk this often; changes at once. A process that dies loses neither."""

_TAIL = 65_536


class Audit(Protocol):
    """What whoever reads or changes something tells. ``who`` did it (``secret key``, ``key:3f2a`` or
    ``user:ada``), ``did`` what (``profile.read``, ``person.erased``), ``about`` are the raw identifiers of
    the people concerned, which the log keeps as pseudonyms only; ``what`` are plain words about it, without
    personal data. ``changed`` says that something changed, and waits for the disk."""

    def note(
        self, who: str, did: str, about: Sequence[str] = (), *, changed: bool = False, **what: str
    ) -> None: ...

    def newest(self, limit: int = 100, about: str = "", did: str = "") -> list[Entry]:
        """The newest entries first; only those about an identifier, or whose ``did`` starts like this."""
        ...

    def verify(self) -> Checked:
        """Walk the chain from its first entry."""
        ...


class Unaudited:
    """For an engine without a folder: nothing is kept."""

    def note(
        self, who: str, did: str, about: Sequence[str] = (), *, changed: bool = False, **what: str
    ) -> None:
        return

    def newest(self, limit: int = 100, about: str = "", did: str = "") -> list[Entry]:
        return []

    def verify(self) -> Checked:
        return Checked(0, NOTHING_BEFORE)


class Entry(msgspec.Struct, frozen=True):
    """One line. ``n`` counts from 1, ``time`` is in milliseconds, ``about`` are pseudonyms, ``before`` is
    the hash of the entry before."""

    n: int
    time: Millis
    who: str
    did: str
    about: tuple[str, ...]
    what: dict[str, str]
    before: str
    hash: str = ""

    def sealed(self) -> Entry:
        """The entry with the hash that belongs to it."""
        return msgspec.structs.replace(self, hash=seal(self))


class Checked(msgspec.Struct, frozen=True):
    """``broken_at`` is the number of the first line whose seal does not hold, 0 when all do; ``head`` the
    hash of the last entry that holds."""

    entries: int
    head: str
    broken_at: int = 0
    problem: str = ""


def seal(entry: Entry) -> str:
    """SHA-256 over everything that the entry says, the hash before it included."""
    told = msgspec.json.encode(
        (entry.n, entry.time, entry.who, entry.did, entry.about, entry.what, entry.before), order="sorted"
    )
    return hashlib.sha256(told).hexdigest()


def chained(entries: Iterable[Entry | None]) -> Checked:
    """Walk a chain from its first entry; None is an entry that cannot be read."""
    before, count = NOTHING_BEFORE, 0
    for number, entry in enumerate(entries, 1):
        if entry is None:
            return Checked(count, before, number, "the line cannot be read")
        if entry.n != number or entry.before != before:
            return Checked(count, before, number, "the entry does not follow the one before it")
        if seal(entry) != entry.hash:
            return Checked(count, before, number, "the entry is not what was written")
        before, count = entry.hash, number
    return Checked(count, before)


class AuditLog:
    """Appends to and reads the log of one data folder. Several processes may: every append takes a lock and
    goes on from the last line that is there. 20 us for a read, a flush of the disk more for a change."""

    def __init__(self, data_folder: Path, clock: Clock = system_clock) -> None:
        self._folder = data_folder / FOLDER
        self._path = self._folder / LOG_FILE
        self._clock = clock
        self._key = b""
        self._fd = -1
        self._size = -1
        self._last = (0, NOTHING_BEFORE)
        self._flushed: Millis = 0

    def note(
        self, who: str, did: str, about: Sequence[str] = (), *, changed: bool = False, **what: str
    ) -> None:
        """Append one entry. Raises ``StorageError`` when it cannot: what cannot be noted must not be done."""
        pseudonyms = tuple(self.pseudonym(one) for one in about)
        with translated("write the audit log", str(self._path), flush=True):
            fd = self._opened()
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                if os.fstat(fd).st_size != self._size:
                    self._last = self._catch_up(fd)
                number, before = self._last
                now = self._clock()
                entry = Entry(number + 1, now, who, did, pseudonyms, what, before).sealed()
                line = msgspec.json.encode(entry) + b"\n"
                os.write(fd, line)
                self._size = os.fstat(fd).st_size
                self._last = entry.n, entry.hash
                if changed or now - self._flushed >= FLUSH_EVERY:
                    os.fdatasync(fd)
                    self._flushed = now
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)

    def pseudonym(self, identifier: str) -> str:
        """What an identifier is called in the log: 16 hex digits, the same every time."""
        if not self._key:
            self._key = self._kept_key()
        return hmac.digest(self._key, identifier.encode("utf-8", "surrogateescape"), "sha256").hex()[:16]

    def entries(self) -> Iterator[Entry]:
        """All entries as they stand, oldest first, unchecked. Raises :class:`Corrupt` for a line that is
        none."""
        for number, line in enumerate(self._lines(), 1):
            try:
                yield _decode(line)
            except msgspec.DecodeError as error:
                raise Corrupt(
                    "a line of the audit log cannot be read",
                    where=f"{self._path} line {number}",
                    remedy="opportune audit verify says which entries still hold",
                ) from error

    def newest(self, limit: int = 100, about: str = "", did: str = "") -> list[Entry]:
        """The newest entries first; only those about an identifier, or whose ``did`` starts like this."""
        wanted = self.pseudonym(about) if about else ""
        found = [
            entry
            for entry in self.entries()
            if (not wanted or wanted in entry.about) and entry.did.startswith(did)
        ]
        return found[: -limit - 1 : -1]

    def verify(self) -> Checked:
        """Walk the chain from its first entry."""
        return chained(_entry_or_none(line) for line in self._lines())

    def close(self) -> None:
        """Flush and let go; the next note opens it again."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd, self._size = -1, -1

    def _lines(self) -> Iterator[bytes]:
        if self._path.exists():
            with translated("read the audit log", str(self._path)), self._path.open("rb") as file:
                yield from file

    def _opened(self) -> int:
        if self._fd < 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self._fd

    def _catch_up(self, fd: int) -> tuple[int, str]:
        """Number and hash of the last whole line; half a line, left by a power cut, is cut off."""
        size = os.fstat(fd).st_size
        if not size:
            return 0, NOTHING_BEFORE
        tail = os.pread(fd, _TAIL, max(0, size - _TAIL))
        if not tail.endswith(b"\n"):
            kept = tail.rfind(b"\n") + 1
            os.ftruncate(fd, size - (len(tail) - kept))
            tail = tail[:kept]
            if not tail:
                return 0, NOTHING_BEFORE
        last = _decode(tail[tail[:-1].rfind(b"\n") + 1 :])
        return last.n, last.hash

    def _kept_key(self) -> bytes:
        path = self._folder / KEY_FILE
        with translated("read the audit log's key", str(path)):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                return path.read_bytes()
            with os.fdopen(fd, "wb") as file:
                made = secrets.token_bytes(32)
                file.write(made)
                file.flush()
                os.fsync(file.fileno())
            return made


def _entry_or_none(line: bytes) -> Entry | None:
    try:
        return _decode(line)
    except msgspec.DecodeError:
        return None


_decode = msgspec.json.Decoder(Entry).decode
