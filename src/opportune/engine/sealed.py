"""The journal's entries as bytes and back, sealed where the folder has a vault: the one place for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opportune.clock import Millis
from opportune.decide.request import DecisionRecord
from opportune.engine import entries
from opportune.engine.entries import Entry
from opportune.errors import Corrupt, StorageError
from opportune.events.dedupe import digest
from opportune.events.event import DeadLetter, Event, Identifier
from opportune.privacy.sealing import GONE_SLOT, NO_DIGEST, Erased, Sealer, is_sealed
from opportune.stores.vault import Tombstone, Vault

NEXT_SLOT = "next_slot"
ERASURES = "erasures"
_NEVER: Millis = -(1 << 62)
_REMEMBERED = 16_384
_READY = 1_024


class SealedEntries:
    """Encodes for the thread that folds. ``slot_of`` tells which key a leaf has, -1 for none: it is part of
    the leaf, and what was appended and not folded yet is remembered here until :meth:`folded`.

    With ``seal`` entries about people are sealed; what is sealed is opened either way. 2 us per event more
    than without, 5 us for the first event of somebody new.
    """

    def __init__(
        self, vault: Vault | None, *, seal: bool, make_vault: Callable[[], Vault] | None = None
    ) -> None:
        self.vault = vault
        self._make_vault = make_vault
        self.slot_of: Callable[[Identifier], int] = lambda identifier: -1
        self.skipped = 0
        """Entries that could not be read because they were erased, since the start."""
        self.unfinished: set[int] = set()
        """Places of tombstones whose erasure is under way: no checkpoint has seen it whole."""
        self._seal = seal
        self._sealer = None if vault is None else Sealer(vault)
        self._fresh: dict[Identifier, int] = {}
        self._stones: dict[Identifier, tuple[Millis, bool]] = {}

    def meta(self) -> dict[str, int]:
        """What a checkpoint must know of the vault: the first key that nobody has, and how many erasures the
        state has seen."""
        if self.vault is None:
            return {}
        seen = min(self.unfinished, default=len(self.vault.tombstones))
        return {NEXT_SLOT: self.vault.next_slot, ERASURES: seen}

    def keep_ready(self) -> None:
        """Have keys for a thousand new leaves on disk, so that commits need not wait for them. Two flushes,
        rarely. Raises StorageError."""
        if self._seal and self.vault is not None and self.vault.spare < _READY:
            self.vault.extend()

    def encode_all(self, group: Sequence[Entry], marks: Sequence[bytes] = ()) -> list[bytes]:
        """One commit group; ``marks`` are the digests of its events, in order, where they are known."""
        if not self._seal:
            return [entries.encode(entry) for entry in group]
        known = iter(marks)
        return [
            self._event(entry, next(known, b"")) if type(entry) is Event else self.encode(entry)
            for entry in group
        ]

    def encode(self, entry: Entry) -> bytes:
        if self._seal:
            if type(entry) is Event:
                return self._event(entry)
            if type(entry) is DecisionRecord and entry.identifiers:
                entry.slot = slot = self._slot(entry.identifiers[0])
                return self._sealed(slot, "d", entries.encode(entry))
            if type(entry) is DeadLetter:
                assert self.vault is not None
                return self._sealed(self.vault.take(), "x", entries.encode(entry))
        return entries.encode(entry)

    def encode_again(self, event: Event) -> bytes:
        """An event that was read and changed, with the key that sealed it; in the clear where none did."""
        if event.slot < 0:
            return entries.encode(event)
        mark = digest(event.source, event.message_id)
        return self._sealed(event.slot, "e", entries.encode(event), mark, event.received)

    def _event(self, event: Event, mark: bytes = b"") -> bytes:
        if not event.identifiers:
            return entries.encode(event)
        event.slot = slot = self._slot(event.identifiers[0])
        mark = mark or digest(event.source, event.message_id)
        return self._sealed(slot, "e", entries.encode(event), mark, event.received)

    def _sealed(
        self, slot: int, kind: str, data: bytes, mark: bytes = NO_DIGEST, received: Millis = 0
    ) -> bytes:
        assert self._sealer is not None
        return self._sealer.seal(slot, kind, data, mark, received)

    def _slot(self, leaf: Identifier) -> int:
        slot = self._fresh.get(leaf, -1)
        if slot < 0:
            slot = self.slot_of(leaf)
            if slot < 0:
                assert self.vault is not None
                slot = self._fresh[leaf] = self.vault.take()
        return slot

    def folded(self) -> None:
        """Everything appended is folded: the leaves know their keys."""
        if self._fresh:
            self._fresh.clear()

    def decode(self, data: bytes) -> Entry | Erased:
        """Bytes to entry. What was erased is :class:`Erased`, also where it was never sealed or names several
        people. Raises ``msgspec.ValidationError``, Corrupt."""
        entry = self.read(data)
        if (type(entry) is Event or type(entry) is DecisionRecord) and self.has_tombstones:
            return self._without_erased(entry)
        return entry

    def read(self, data: bytes) -> Entry | Erased:
        """Like :meth:`decode`, but what was erased and can still be read is read."""
        slot = -1
        if is_sealed(data):
            if self._sealer is None or self.vault is None:
                raise Corrupt(
                    "the journal is sealed, and the folder has no vault",
                    remedy="put the folder 'vault' back that belongs to this journal",
                )
            slot, opened = self._sealer.open(data)
            if slot != GONE_SLOT:
                self.vault.used(slot)
            if isinstance(opened, Erased):
                self.skipped += 1
                return opened
            data = opened
        entry: Entry = entries.decode(data)
        if type(entry) is Event or type(entry) is DecisionRecord:
            entry.slot = slot
        return entry

    def _without_erased(self, entry: Event | DecisionRecord) -> Entry | Erased:
        came = entry.received if isinstance(entry, Event) else entry.time
        left = tuple([name for name in entry.identifiers if self.stone(name)[0] < came])
        if len(left) == len(entry.identifiers):
            return entry
        if not left or left[0] != entry.identifiers[0]:
            self.skipped += 1
            if isinstance(entry, Event):
                return Erased("e", digest(entry.source, entry.message_id), entry.received)
            return Erased("d", b"", entry.time)
        entry.identifiers = left
        return entry

    @property
    def has_tombstones(self) -> bool:
        return self.vault is not None and bool(self.vault.tombstones)

    def refuses(self, event: Event) -> bool:
        """Whether the event may not come in: it is about somebody who was erased after it happened, or who is
        never to be recorded again. 0.1 us per identifier that was asked for before."""
        for name in event.identifiers:
            at, suppressed = self.stone(name)
            if suppressed or event.time <= at or event.received <= at:
                return True
        return False

    def suppresses(self, identifier: Identifier) -> bool:
        """Whether nothing is to be recorded about the identifier ever again. 0.1 us."""
        return self.stone(identifier)[1]

    def stone(self, identifier: Identifier) -> tuple[Millis, bool]:
        """When what the identifier names was erased last, before all time when never; and whether it is
        suppressed."""
        found = self._stones.get(identifier)
        if found is None:
            vault = self.with_vault()
            if len(self._stones) >= _REMEMBERED:
                self._stones.clear()
            mark = vault.pseudonym(identifier)
            found = (vault.erased_at.get(mark, _NEVER), mark in vault.suppressed)
            self._stones[identifier] = found
        return found

    def with_vault(self) -> Vault:
        """The folder's vault, made now when there was none: tombstones are kept in it."""
        if self.vault is None:
            if self._make_vault is None:
                raise StorageError("this folder has no vault", remedy="open it for writing")
            self.vault = self._make_vault()
            self._sealer = Sealer(self.vault)
        return self.vault

    def bury(self, stone: Tombstone) -> None:
        """Keep a tombstone that destroys no key: from now on it holds. Raises StorageError."""
        self.with_vault().record(stone)
        self._stones.clear()

    def forget(self, slots: Sequence[int], identifiers: Sequence[Identifier]) -> None:
        """These keys are destroyed, these identifiers erased."""
        for slot in slots:
            if self._sealer is not None:
                self._sealer.forget(slot)
        for name in identifiers:
            self._fresh.pop(name, None)
        self._stones.clear()
