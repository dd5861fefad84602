"""A journal and a vault to read in another thread: the engine's own belong to its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opportune.engine.sealed import SealedEntries
from opportune.stores.disk import RealDisk
from opportune.stores.journal import Journal
from opportune.stores.vault import Vault

if TYPE_CHECKING:
    from opportune.engine.engine import Engine


def opened_beside(engine: Engine) -> tuple[Journal, SealedEntries]:
    """What the journal holds on disk at this moment, and how it is read; what is encoded anew is sealed as it
    was. An engine without a folder gives its own. Raises StorageError."""
    if engine.data_dir is None:
        return engine.journal, SealedEntries(engine.entries.vault, seal=False)
    disk = RealDisk(engine.data_dir, read_only=True)
    vault = Vault(disk) if Vault.exists(disk) else None
    return Journal.open(disk), SealedEntries(vault, seal=False)
