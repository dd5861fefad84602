"""From a pseudonym of the derived tables back to the identifier: for who may know, and on record."""

from __future__ import annotations

from collections.abc import Iterable

from opportune.errors import NotFound
from opportune.events.event import Identifier
from opportune.warehouse.tables import key_of


def identifier_of(known: Iterable[Identifier], key: bytes, pseudonym: int) -> Identifier:
    """Whom a number of the derived tables (``leaf``, ``unit``, ``person``) stands for under the vault's key.
    Nowhere is a table of them: every identifier that is ``known`` is tried, 2 us each. Raises
    :class:`NotFound`."""
    for identifier in known:
        if key_of(identifier, key) == pseudonym:
            return identifier
    raise NotFound(
        "nobody is known by this pseudonym",
        seen=str(pseudonym),
        remedy="the person may have been erased; sessions and orders have pseudonyms too, and no way back",
    )
