"""Whether a receipt is genuine, whom it is about, and whether it still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opportune.engine.erasing import named
from opportune.errors import InvalidRequest
from opportune.privacy.needles import needles, occurrences
from opportune.privacy.receipt import public_key_of, read_receipt, verify
from opportune.stores.disk import RealDisk
from opportune.stores.manifest import FOLDER as STATE
from opportune.stores.scan import search
from opportune.stores.sealed_files import SealedFiles
from opportune.stores.vault import Vault


def check(data: bytes, folder: Path | None, identifier: str = "") -> dict[str, Any]:
    """What is true of a receipt. With ``folder``: that its vault signed it. With ``identifier`` too: that it
    is about this person, and what a search of every file finds now. Raises :class:`InvalidRequest`."""
    receipt = read_receipt(data)
    if folder is None:
        if identifier:
            raise InvalidRequest(
                "only the vault knows whom a receipt is about",
                where="--data-dir",
                remedy="name the data folder",
            )
        verify(receipt)
        return {"genuine": True, "public_key": receipt.public_key, "at": receipt.at}
    disk = RealDisk(folder, read_only=True)
    vault = Vault(disk)
    verify(receipt, expected_key=public_key_of(vault.signing_key))
    told: dict[str, Any] = {"genuine": True, "public_key": receipt.public_key, "at": receipt.at}
    if identifier:
        key = named(identifier)
        if vault.pseudonym(key).hex() not in receipt.subjects:
            raise InvalidRequest(
                "the receipt is about somebody else", seen=identifier, remedy="find the right receipt"
            )
        opened = SealedFiles(disk, STATE, vault.state_key)
        files, size, found, places = search(folder, needles([key]), occurrences, opened)
        told["searched"] = {"files": files, "bytes": size, "found": found, "findings": places}
    return told
