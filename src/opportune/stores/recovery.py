"""What must agree between a journal and a checkpoint, and one canonical form of all state."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from opportune.errors import Corrupt
from opportune.stores.journal import Journal
from opportune.stores.manifest import Manifest
from opportune.stores.records import RecordStore


def check_agreement(journal: Journal, store: RecordStore | Manifest, *, where: str = "") -> None:
    """Raises Corrupt when the checkpoint has seen entries that the journal does not hold, or when entries
    that the checkpoint has not seen are no longer in the journal."""
    seen = max(store.highest_offset, store.offset - 1)
    end = journal.next_seq - 1
    if seen > end:
        raise Corrupt(
            f"the checkpoint has seen journal seq {seen}, but the journal ends at {end}: it lost its tail",
            where=where,
            remedy="restore a backup, or remove the folder 'state' to go on with what the journal holds",
        )
    if store.offset < journal.first_seq:
        raise Corrupt(
            f"the checkpoint ends before journal seq {store.offset}, but the journal begins with "
            f"{journal.first_seq}",
            where=where,
            remedy="move the segments in between from 'archive' back to 'journal', or restore a backup",
        )


def canonical(items: Iterable[tuple[str | bytes, bytes]]) -> bytes:
    """All state as one string of bytes: keys sorted, each with its length and value. Two states are the same
    exactly when these are. Holds everything in memory: for checks and small exports."""
    parts = []
    for key, value in sorted((key.encode() if isinstance(key, str) else key, value) for key, value in items):
        parts += [b"%d:" % len(key), key, b"=%d:" % len(value), value, b"\n"]
    return b"".join(parts)


def fingerprint(items: Iterable[tuple[str | bytes, bytes]]) -> str:
    """SHA-256 of the canonical form, in hexadecimal."""
    return sha256(canonical(items)).hexdigest()
