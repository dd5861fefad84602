"""Keeping people out from now on without erasing what is known, and letting them in again.

Nothing is written into the journal: what is kept out never gets there, and the vault remembers keyed hashes
of the identifiers only.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opportune.engine.erasing import named
from opportune.events.event import Identifier
from opportune.stores.vault import Tombstone

if TYPE_CHECKING:
    from opportune.engine.engine import Engine


def suppress(engine: Engine, identifiers: Sequence[str]) -> Tombstone:
    """From now on nothing is taken in about the people whom the identifiers lead to, and decisions for them
    are contextual. Raises :class:`InvalidRequest`, StorageError."""
    return _bury(engine, _marks(engine, identifiers), lifted=False)


def unsuppress(engine: Engine, identifiers: Sequence[str]) -> Tombstone:
    """Take in again what comes about these people, by any identifier that was suppressed together with one of
    theirs. What was erased stays erased."""
    marks = _marks(engine, identifiers)
    vault = engine.entries.with_vault()
    for stone in vault.tombstones:
        if stone.suppress and not set(marks).isdisjoint(stone.marks):
            marks = tuple(dict.fromkeys((*marks, *stone.marks)))
    return _bury(engine, marks, lifted=True)


def suppression(engine: Engine, stone_id: str) -> Tombstone | None:
    """What was suppressed, or let in again, under this id; None when nothing was."""
    vault = engine.entries.vault
    stones = () if vault is None else vault.tombstones
    return next((stone for stone in stones if stone.id == stone_id and not stone.erased), None)


def _marks(engine: Engine, identifiers: Sequence[str]) -> tuple[str, ...]:
    vault = engine.entries.with_vault()
    members: dict[Identifier, None] = {}
    for identifier in identifiers:
        key = named(identifier)
        members |= dict.fromkeys((key, *engine.component(key).identifiers))
    return tuple([vault.pseudonym(name).hex() for name in members])


def _bury(engine: Engine, marks: tuple[str, ...], *, lifted: bool) -> Tombstone:
    stone = Tombstone(
        secrets.token_hex(8), engine.clock(), marks, erased=False, suppress=not lifted, lifted=lifted
    )
    engine.entries.bury(stone)
    return stone
