"""Match weights and the proposals made with them, beside the data: derived, and forgotten as a whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from opportune.errors import Corrupt
from opportune.stores.disk import translated

FOLDER = "likely"
MODEL = "model.json"
PROPOSALS = "proposals.json"

T = TypeVar("T")


class LikelyStore:
    """``<data folder>/likely/``. The proposals name people and show what they have in common, so whoever
    erases a person calls :meth:`forget`."""

    def __init__(self, data_dir: Path | str) -> None:
        self.folder = Path(data_dir) / FOLDER

    def save(self, name: str, value: object) -> None:
        """Replace a file whole."""
        path = self.folder / name
        with translated("keep what is likely", str(path), flush=True):
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self.folder / f".{name}.{os.getpid()}"
            draft.write_bytes(msgspec.json.encode(value))
            os.replace(draft, path)

    def read(self, name: str, kind: type[T]) -> T | None:
        """None when it was never made. Raises :class:`Corrupt`."""
        path = self.folder / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise Corrupt("cannot be read", where=str(path), remedy="train and propose again") from error

    def forget(self) -> None:
        """Remove model and proposals: both can be made again."""
        shutil.rmtree(self.folder, ignore_errors=True)
