"""Model versions on disk: a folder each that never changes, and the list of their moves beside them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import Corrupt, InvalidRequest, NotFound

FOLDER = "models"
MOVES = "moves.jsonl"
INFO = "bundle.json"
NOTES = "{}.shadow.json"


class ModelStore:
    """``<data folder>/models/<model>/<version>/`` holds ``bundle.json``, texts and arrays (``.npy``, mapped
    into memory when read); ``moves.jsonl`` says what became of each version. Trainers and the server read and
    append side by side: a version appears with one rename, a move with one flushed append."""

    def __init__(self, data_dir: Path | str, model: str) -> None:
        self.folder = Path(data_dir) / FOLDER / model

    def save(
        self, version: str, info: bytes, texts: dict[str, str], arrays: dict[str, npt.NDArray[Any]]
    ) -> Path:
        """Write a version whole or not at all. Raises :class:`InvalidRequest` when it is there already."""
        target = self.folder / version
        if target.exists():
            raise InvalidRequest("this version is there already", seen=version, where=str(target))
        making = self.folder / f".{version}.{os.getpid()}"
        making.mkdir(parents=True)
        try:
            (making / INFO).write_bytes(info)
            for name, text in texts.items():
                (making / f"{name}.txt").write_text(text, encoding="utf-8")
            for name, array in arrays.items():
                np.save(making / f"{name}.npy", array)
            for path in making.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            making.rename(target)
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return target

    def info(self, version: str) -> bytes:
        return self._read(version, INFO)

    def text(self, version: str, name: str) -> str:
        return self._read(version, f"{name}.txt").decode()

    def array(self, version: str, name: str) -> npt.NDArray[Any]:
        """Mapped into memory, not read: pages come as they are touched."""
        path = self.folder / version / f"{name}.npy"
        try:
            found: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        except FileNotFoundError as error:
            raise _missing(path) from error
        except ValueError as error:
            raise Corrupt(
                "this is no array", where=str(path), remedy="train the version again, or roll back"
            ) from error
        return found

    def note(self, version: str) -> bytes | None:
        """What was last noted about a version while it ran; None when nothing was."""
        try:
            return (self.folder / NOTES.format(version)).read_bytes()
        except FileNotFoundError:
            return None

    def put_note(self, version: str, data: bytes) -> None:
        """Replace the note whole. It is not flushed: losing the newest costs nothing but itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        making = self.folder / f".note.{os.getpid()}"
        making.write_bytes(data)
        making.replace(self.folder / NOTES.format(version))

    def append(self, moves: list[bytes]) -> None:
        """Add moves, a line of JSON each, and flush them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / MOVES).open("ab") as file:
            file.write(b"".join(move + b"\n" for move in moves))
            file.flush()
            os.fsync(file.fileno())

    def moves(self) -> list[bytes]:
        """Every move, oldest first. A line cut off by a crash is left out."""
        try:
            data = (self.folder / MOVES).read_bytes()
        except FileNotFoundError:
            return []
        return [line for line in data.split(b"\n")[:-1] if _is_json(line)]

    def put_moves(self, moves: list[bytes]) -> None:
        """Say other moves than before, at once: for a copy that follows another folder. Not flushed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        making = self.folder / f".moves.{os.getpid()}"
        making.write_bytes(b"".join(move + b"\n" for move in moves))
        making.replace(self.folder / MOVES)

    def _read(self, version: str, name: str) -> bytes:
        path = self.folder / version / name
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise _missing(path) from error


def _missing(path: Path) -> NotFound:
    return NotFound("a part of the model is missing", where=str(path), remedy="train it again, or roll back")


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return True
