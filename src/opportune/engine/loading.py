"""From disk to state: load the checkpoint, fold the journal's tail."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from opportune.catalog.items import RECORD_PREFIX, Catalog
from opportune.clock import Clock
from opportune.decide.attribution import OUTCOMES_CODEC
from opportune.engine import keys
from opportune.engine.checkpoints import (
    ACCOUNTING_BLOB,
    BANDITS_BLOB,
    DEAD_LETTERS_BLOB,
    NUMBERING_BLOB,
    REVIEWS_BLOB,
    SWITCHES_BLOB,
    Checkpoints,
)
from opportune.engine.collector import collector_paused
from opportune.engine.erasure import resume
from opportune.engine.models import Models
from opportune.engine.optional_sources import optional_sources
from opportune.engine.sealed import ERASURES, NEXT_SLOT, SealedEntries
from opportune.engine.state import State
from opportune.engine.workspace import Workspace
from opportune.events.accounting import Accounting
from opportune.events.dead_letters import DeadLetters
from opportune.events.dedupe import Dedupe
from opportune.events.event import Event
from opportune.experiments.bandits.running import Bandits, Known, Running
from opportune.experiments.switch import Switches
from opportune.identity.reviews import Reviews
from opportune.privacy.sealing import Erased
from opportune.profiles.schema import ProfileSchema
from opportune.stores.cache import Codec, RecordCache
from opportune.stores.disk import Disk
from opportune.stores.journal import Journal
from opportune.stores.manifest import FOLDER as STATE
from opportune.stores.records import RecordStore
from opportune.stores.recovery import check_agreement
from opportune.stores.sealed_files import SealedFiles
from opportune.stores.vault import Vault, check_belongs

LEARN_EVERY = 20_000
"""Entries folded between two updates of the models while replaying."""


RECALL = 2_000
"""Entries looked at before the checkpoint for the live views."""


class Loaded(msgspec.Struct, frozen=True):
    entries: SealedEntries
    journal: Journal
    store: RecordStore
    state: State


def load(disk: Disk, workspace: Workspace, clock: Clock) -> Loaded:
    """Everything as of the last durable entry. O(records of the catalogue + interactions + journal tail).

    Raises :class:`Corrupt` when the checkpoint has seen entries that the journal has lost.
    """
    journal = Journal.open(disk)
    vault = vault_of(disk, workspace)
    store = open_store(disk, workspace, vault)
    check_agreement(journal, store, where=disk.name)
    state = state_of(store, workspace)
    entries = entries_of(disk, workspace, state, store, vault)
    offset = max(store.offset, 1)
    state.next_seq = offset
    _recall(journal, state, entries, offset)
    checkpoints = Checkpoints(journal, store, state, clock, meta=entries.meta)
    if entries.vault is not None and store.offset > 1:
        pending = [s for s in entries.vault.tombstones[int(store.meta.get(ERASURES, 0)) :] if s.erased]
        if pending:
            resume(journal, entries, state, checkpoints, pending)
    if entries.vault is not None and not disk.read_only:
        entries.vault.finish_destroying()
    with collector_paused():
        _replay(journal, state, entries, checkpoints, offset)
    checkpoints.wait()
    checkpoints.stop()
    return Loaded(entries, journal, store, state)


def vault_of(disk: Disk, workspace: Workspace) -> Vault | None:
    """The folder's vault; a folder that is to be sealed gets it here. Raises :class:`Corrupt`."""
    seal = workspace.privacy.seal_journal and not disk.read_only
    has_vault = Vault.exists(disk)
    if not has_vault:
        check_belongs(disk, None)
    vault = Vault(disk) if seal or has_vault else None
    if vault is not None:
        check_belongs(disk, vault)
    return vault


def open_store(disk: Disk, workspace: Workspace, vault: Vault | None) -> RecordStore:
    """The checkpoint, whose files are sealed where the journal is; what lies there in the clear from before
    is written anew."""
    if vault is None:
        return RecordStore.open(disk)
    files = SealedFiles(disk, STATE, vault.state_key, seal=workspace.privacy.seal_journal)
    store = RecordStore.open(files)
    if not disk.read_only:
        store.renew(files.is_clear)
    return store


def entries_of(
    disk: Disk, workspace: Workspace, state: State, store: RecordStore, vault: Vault | None
) -> SealedEntries:
    """How this folder's entries are read and written."""
    seal = workspace.privacy.seal_journal and not disk.read_only
    if vault is not None:
        vault.used(int(store.meta.get(NEXT_SLOT, 0)) - 1)
    found = SealedEntries(vault, seal=seal, make_vault=None if disk.read_only else lambda: _made(disk))
    found.slot_of = lambda identifier: state.leaf(identifier).slot
    found.keep_ready()
    return found


def _made(disk: Disk) -> Vault:
    vault = Vault(disk)
    check_belongs(disk, vault)
    return vault


def _replay(
    journal: Journal, state: State, entries: SealedEntries, checkpoints: Checkpoints, offset: int
) -> None:
    """Fold the journal's tail."""
    since = 0
    for seq, data in journal.scan(offset):
        entry = entries.decode(data)
        state.fold(seq, entry)
        if isinstance(entry, Event):
            state.dedupe.add(entry.source, entry.message_id, entry.received)
        elif isinstance(entry, Erased) and entry.digest:
            state.dedupe.add_digest(entry.digest, entry.received)
        since += 1
        if since >= LEARN_EVERY:
            since = 0
            state.models.learn()
            checkpoints.keep_up()
    state.models.learn()


def _recall(journal: Journal, state: State, entries: SealedEntries, offset: int) -> None:
    """Fill the live views from the journal's end before the checkpoint; no state depends on them."""
    for seq, data in journal.scan(max(journal.first_seq, offset - RECALL)):
        if seq >= offset:
            return
        state.recall(seq, entries.decode(data))


def state_of(store: RecordStore, workspace: Workspace) -> State:
    blobs = set(store.blobs())
    schemas = {
        entity: ProfileSchema.of(workspace.features, entity) for entity in ("person", "item", "session")
    }
    schemas["person"].scores = dict(workspace.scores)
    schemas["person"].survivorship = workspace.identity.traits
    catalog = Catalog()
    catalog.hidden = workspace.fence.hidden("item", "exports")
    if NUMBERING_BLOB in blobs:
        catalog.import_numbering(store.read_blob(NUMBERING_BLOB))
        names = [RECORD_PREFIX + item_id for item_id in catalog.ids]
        found = zip(names, store.get_many([name.encode() for name in names]), strict=True)
        catalog.load((key, data) for key, data in found if data is not None)
    models = Models(catalog, optional_sources(workspace.placements, catalog))
    models.load(blobs, store.read_blob)
    accounting, letters, switches = Accounting(), DeadLetters(), Switches(last={})
    if ACCOUNTING_BLOB in blobs:
        accounting = msgspec.msgpack.decode(store.read_blob(ACCOUNTING_BLOB), type=Accounting)
    if DEAD_LETTERS_BLOB in blobs:
        letters = msgspec.msgpack.decode(store.read_blob(DEAD_LETTERS_BLOB), type=DeadLetters)
    if SWITCHES_BLOB in blobs:
        switches = msgspec.msgpack.decode(store.read_blob(SWITCHES_BLOB), type=Switches)
    reviews = Reviews(suspects={}, corrections=[])
    if REVIEWS_BLOB in blobs:
        reviews = msgspec.msgpack.decode(store.read_blob(REVIEWS_BLOB), type=Reviews)
    bandits = Known(learnt={}, waiting={}, standing={}, traffic={})
    if BANDITS_BLOB in blobs:
        bandits = msgspec.msgpack.decode(store.read_blob(BANDITS_BLOB), type=Known)
    return State(
        RecordCache(store, codecs(schemas)),
        schemas,
        catalog=catalog,
        models=models,
        dedupe=Dedupe(store),
        accounting=accounting,
        dead_letters=letters,
        rules=workspace.identity,
        switches=switches,
        reviews=reviews,
        bandits=Bandits(
            {
                e.id: Running(
                    e.bandit,
                    e.bandit.bandit(tuple(arm.id for arm in e.variants())),
                    {str(arm.value): arm.id for arm in e.variants()} if e.bandit.show else {},
                )
                for e in workspace.experiments
                if e.bandit is not None
            },
            bandits,
        ),
    )


def codecs(schemas: dict[str, ProfileSchema]) -> Callable[[str], Codec]:
    """The codec of a record by the first letter of its key."""
    by_prefix: dict[str, Codec] = {
        keys.LEAF: schemas["person"],
        keys.ITEM: schemas["item"],
        keys.SESSION: schemas["session"],
        keys.OUTCOMES: OUTCOMES_CODEC,
    }
    return lambda key: by_prefix[key[:2]]
