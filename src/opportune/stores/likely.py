"""Match weights and the proposals made with them, beside the data: derived, and forgotten as a whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opportune.errors import Corrupt
from opportune.stores.disk import RealDisk, translated
from opportune.stores.vault import Vault

FOLDER = "likely"
MODEL = "model.json"
PROPOSALS = "proposals.json"

T = TypeVar("T")


_SEALED = b"OPLK"
_NONCE = slice(4, 16)


class LikelyStore:
    """``<data folder>/likely/``, sealed where the folder has a vault. The proposals name people and show what
    they have in common, so whoever erases a person calls :meth:`forget`."""

    def __init__(self, data_dir: Path | str) -> None:
        self._root = Path(data_dir)
        self.folder = self._root / FOLDER

    def save(self, name: str, value: object) -> None:
        """Replace a file whole."""
        path = self.folder / name
        with translated("keep what is likely", str(path), flush=True):
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self.folder / f".{name}.{os.getpid()}"
            draft.write_bytes(self._sealed(msgspec.json.encode(value)))
            os.replace(draft, path)

    def read(self, name: str, kind: type[T]) -> T | None:
        """None when it was never made. Raises :class:`Corrupt`."""
        path = self.folder / name
        try:
            return msgspec.json.decode(self._opened(path.read_bytes()), type=kind)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, InvalidTag) as error:
            raise Corrupt("cannot be read", where=str(path), remedy="train and propose again") from error

    def version(self, name: str) -> tuple[int, int] | None:
        """Changes when the file is replaced; None when there is none. 2 us."""
        try:
            found = (self.folder / name).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def forget(self) -> None:
        """Remove model and proposals: both can be made again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cipher(self) -> AESGCM | None:
        if not self._root.is_dir():
            return None
        disk = RealDisk(self._root, read_only=True)
        return AESGCM(Vault(disk).proposals_key) if Vault.exists(disk) else None

    def _sealed(self, data: bytes) -> bytes:
        cipher = self._cipher()
        if cipher is None:
            return data
        nonce = os.urandom(12)
        return _SEALED + nonce + cipher.encrypt(nonce, data, _SEALED)

    def _opened(self, data: bytes) -> bytes:
        if not data.startswith(_SEALED):
            return data
        cipher = self._cipher()
        if cipher is None:
            raise InvalidTag
        return cipher.decrypt(data[_NONCE], data[_NONCE.stop :], _SEALED)
