"""From a pseudonym of the derived tables back to the identifier: for who may know, and on record."""

from __future__ import annotations

from opportune.engine import keys
from opportune.engine.history import read_state
from opportune.engine.workspace import Workspace
from opportune.errors import NotFound
from opportune.events.event import Identifier
from opportune.stores.disk import RealDisk
from opportune.stores.vault import Vault
from opportune.warehouse.tables import key_of


def identifier_of(disk: RealDisk, workspace: Workspace, pseudonym: int) -> Identifier:
    """Whom a number of the derived tables (``leaf``, ``unit``, ``person``) stands for. Nowhere is a table of
    them: every identifier that is known is tried, 2 us each. The folder may be in use. Raises
    :class:`NotFound`."""
    missing = NotFound(
        "nobody is known by this pseudonym",
        seen=str(pseudonym),
        where=disk.name,
        remedy="the person may have been erased; sessions and orders have pseudonyms too, and no way back",
    )
    if not Vault.exists(disk):
        raise missing
    key = Vault(disk).row_key
    state, _ = read_state(disk, workspace)
    for name, data in state.records.items(keys.LEAF):
        identifier = name.removeprefix(keys.LEAF)
        if data and key_of(identifier, key) == pseudonym:
            return identifier
    raise missing
