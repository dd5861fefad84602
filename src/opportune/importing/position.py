"""Where an import has got to, so that an interrupted one goes on and a finished one is not repeated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from opportune.errors import Corrupt, StorageError


class Counts(msgspec.Struct):
    """``rows`` read, ``sent`` events made of them and what became of those; ``unusable`` rows became none."""

    rows: int = 0
    sent: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    unusable: int = 0


class Position(msgspec.Struct):
    """``end`` is of the last row that is safely stored. ``identity`` says of which file, and
    how its columns were read; ``footprint`` is the reader's for ``end``: another file, or another mapping,
    starts over. ``rejected_bytes`` is the length of the report at that point."""

    identity: str
    footprint: str = ""
    end: int = 0
    rejected_bytes: int = 0
    is_finished: bool = False
    counts: Counts = msgspec.field(default_factory=Counts)


def load_position(path: Path, identity: str, footprint: Callable[[int], str]) -> Position:
    """The kept position, or a fresh one when there is none or it is of something else."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Position)
    except FileNotFoundError:
        return Position(identity)
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"the position of this import cannot be read ({error})",
            where=str(path),
            remedy="remove the file: rows that are already stored count as duplicates",
        ) from error
    is_same = kept.identity == identity and kept.footprint == footprint(kept.end)
    return kept if is_same else Position(identity)


def save_position(path: Path, position: Position) -> None:
    """Written whole and renamed. It may be behind what is stored, never ahead: repeats are duplicates."""
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(position))
        os.replace(draft, path)
    except OSError as error:
        raise StorageError(
            f"cannot keep the position of this import ({error.strerror})",
            where=str(path),
            remedy="make the folder writable",
        ) from error
