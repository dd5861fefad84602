"""The history of a data folder, also of one that a server has open: what models are trained from."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from opportune.catalog.items import Catalog
from opportune.decide.request import DecisionRecord
from opportune.engine.consent_gate import ConsentGate
from opportune.engine.entries import Entry
from opportune.engine.loading import entries_of, open_store, state_of, vault_of
from opportune.engine.models import Models
from opportune.engine.state import State
from opportune.engine.workspace import Workspace
from opportune.events.event import Event
from opportune.privacy.sealing import Erased
from opportune.profiles.consent.policy import Use
from opportune.stores.disk import Disk
from opportune.stores.journal import Journal
from opportune.stores.recovery import check_agreement


class History(NamedTuple):
    """``models`` have learnt all of it; ``offsets``: the journal entries that it comes from."""

    catalog: Catalog
    models: Models
    offsets: tuple[int, int]


def read_history(disk: Disk, workspace: Workspace) -> History:
    """Load the checkpoint and fold the journal's tail in memory; nothing is written. The disk may be
    read-only. O(items + interactions + tail)."""
    state, offset = read_state(disk, workspace)
    state.models.learn()
    return History(state.catalog, state.models, (1, offset))


def read_state(disk: Disk, workspace: Workspace) -> tuple[State, int]:
    """All state as of the journal's end, and the last entry of it; nothing is written."""
    journal = Journal.open(disk)
    vault = vault_of(disk, workspace)
    store = open_store(disk, workspace, vault)
    check_agreement(journal, store, where=disk.name)
    state = state_of(store, workspace)
    last = 0
    entries = entries_of(disk, workspace, state, store, vault)
    for seq, data in journal.scan(max(store.offset, 1)):
        state.fold(seq, entries.decode(data))
        last = seq
    return state, max(last, store.offset - 1)


def read_entries(disk: Disk, workspace: Workspace) -> Iterator[tuple[int, Entry | Erased]]:
    """Every entry that the journal holds, with its number, oldest first; nothing is written. What belongs to
    somebody who was erased comes as :class:`Erased`."""
    journal = Journal.open(disk)
    vault = vault_of(disk, workspace)
    store = open_store(disk, workspace, vault)
    entries = entries_of(disk, workspace, state_of(store, workspace), store, vault)
    for seq, data in journal.scan(journal.first_seq):
        yield seq, entries.decode(data)


def read_trainable(disk: Disk, workspace: Workspace) -> Iterator[tuple[int, Entry | Erased]]:
    """What models may be trained from: :func:`read_entries` without the people who do not allow it now,
    whatever they allowed when it happened."""
    state, _ = read_state(disk, workspace)
    gate = ConsentGate(state, workspace.consent)
    allowed: dict[str, bool] = {}
    for seq, entry in read_entries(disk, workspace):
        if isinstance(entry, Event | DecisionRecord) and entry.identifiers:
            name = entry.identifiers[0]
            if name not in allowed:
                allowed[name] = gate.standing(state.components.members(name)).may(Use.TRAIN)
            if not allowed[name]:
                continue
        yield seq, entry


def numbering_digest(catalog: Catalog, items: int) -> str:
    """Says whether two catalogues number their first ``items`` items alike: vectors follow these numbers."""
    digest = blake2b(digest_size=8)
    for item_id in catalog.ids[:items]:
        digest.update(item_id.encode() + b"\0")
    return digest.hexdigest()
