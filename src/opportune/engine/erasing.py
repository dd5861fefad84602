"""One erasure from its request to its receipt: short turns on the engine's thread, the long work beside."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from opportune.clock import Millis
from opportune.engine.beside import opened_beside
from opportune.engine.erasure import Trace, forget_traced, replacements, trace
from opportune.engine.turns import Turns, at_once
from opportune.errors import InvalidRequest
from opportune.events.event import Identifier
from opportune.events.identifiers import parse
from opportune.privacy.needles import needles, occurrences
from opportune.privacy.receipt import Finding, Receipt, Scan, signed
from opportune.stores.likely import LikelyStore
from opportune.stores.scan import search
from opportune.stores.vault import Tombstone

if TYPE_CHECKING:
    from opportune.engine.engine import Engine


def named(identifier: str) -> Identifier:
    """The identifier as it is kept. Raises :class:`InvalidRequest` when it names nobody."""
    key = parse(identifier)
    if not key:
        raise InvalidRequest(
            "this names nobody", seen=identifier, remedy="write it as type:value, for example user_id:u1"
        )
    return key


DerivedEraser = Callable[[Sequence[Identifier], int], int]
"""Takes people out of tables that follow the journal, as far as rows come from before an entry; how many. Not
on the engine's thread."""


class Erasing:
    """:meth:`begin`, then :meth:`turns`, both on the engine's thread. After ``begin`` the engine answers
    nothing about the person any more and takes in nothing that happened before; after the last turn no file
    knows them."""

    def __init__(
        self,
        engine: Engine,
        identifiers: Sequence[str],
        *,
        suppress: bool = False,
        at: Millis | None = None,
        erasure_id: str = "",
    ) -> None:
        """Everybody whom the identifiers lead to. ``suppress``: nothing of them is taken in ever again.
        ``at`` is when it was asked for, where that was elsewhere and earlier, under this id. Raises
        :class:`InvalidRequest` for what names nobody."""
        self._engine = engine
        self._suppress = suppress
        self._named = [named(identifier) for identifier in identifiers]
        self._patterns: list[bytes] = []
        self._at = at
        self._members: list[Identifier] = []
        self._slots: set[int] = set()
        self._stone: Tombstone
        self._place = 0
        self._traced = Trace()
        self._replaced: dict[int, bytes] = {}
        self._scan: Scan | None = None
        self.id = erasure_id or secrets.token_hex(8)
        self.receipt: Receipt
        self.failure = ""

    def begin(self) -> None:
        """Make what was admitted durable, keep the tombstone, forget the person. O(what is known of them).
        Raises StorageError."""
        engine = self._engine
        engine.settle()
        entries, state = engine.entries, engine.state
        vault = entries.with_vault()
        members = list(dict.fromkeys(i for key in self._named for i in engine.component(key).identifiers))
        self._members = members
        self._patterns = needles(members)
        self._slots = {slot for name in members if (slot := state.leaf(name).slot) >= 0}
        if engine.data_dir is not None:
            # Before the tombstone: a start that finishes what a crash cut short does not know this folder.
            LikelyStore(engine.data_dir).forget()
        at = engine.clock() if self._at is None else self._at
        marks = tuple([vault.pseudonym(name).hex() for name in members])
        self._stone = Tombstone(
            self.id,
            at,
            marks,
            suppress=self._suppress,
            slots=tuple(sorted(self._slots)),
            before=engine.journal.next_seq,
        )
        self._place = len(vault.tombstones)
        entries.unfinished.add(self._place)
        vault.record(self._stone)
        removed = engine.forget(members)
        self.receipt = Receipt(
            id=self.id,
            state="INITIALIZED",
            at=at,
            finished=at,
            subjects=marks,
            suppressed=self._suppress,
            removed=removed,
            scan=None,
        )

    @property
    def members(self) -> list[Identifier]:
        """Everybody who is erased, once it has begun."""
        return self._members

    def turns(self) -> Turns:
        """Find in the journal what else is theirs, destroy the keys, merge away the files that still hold old
        bytes, search every file of the data folder, sign and keep the receipt. O(bytes of the folder), nearly
        all of it elsewhere. Raises StorageError; may be called again then."""
        engine = self._engine
        entries, vault = engine.entries, engine.entries.with_vault()
        yield self._trace
        traced = self._traced
        removed = forget_traced(engine.state, self.receipt.removed, traced)
        self.receipt = msgspec.structs.replace(self.receipt, removed=removed)
        yield self._erase_derived
        if traced.slots != self._slots:
            vault.record(msgspec.structs.replace(self._stone, slots=tuple(sorted(traced.slots))))
        if not self._replaced:
            entries.unfinished.discard(self._place)
        yield from engine.checkpoint_turns()
        for slots in vault.by_file(sorted(traced.slots)):
            vault.destroy(slots)
            yield None
        vault.renew_backup_key()
        entries.forget(sorted(traced.slots), ())
        if self._replaced:
            yield lambda: engine.journal.rewrite(self._replaced)
            # Only now may a checkpoint say that nothing is left to do: no tombstone lists these entries.
            entries.unfinished.discard(self._place)
            yield from engine.checkpoint_turns()
        yield lambda: engine.store.compact(everything=True)
        if engine.data_dir is not None:
            yield self._search
        scan = self._scan
        self.receipt = signed(
            msgspec.structs.replace(
                self.receipt,
                state="FINISHED" if scan is None or not scan.found else "PARTIAL_SUCCESS",
                finished=engine.clock(),
                scan=scan,
            ),
            vault.signing_key,
        )
        vault.keep_receipt(self.id, msgspec.json.format(msgspec.json.encode(self.receipt), indent=1))

    def finish(self) -> Receipt:
        """All turns at once, for who serves nobody else meanwhile."""
        at_once(self.turns())
        return self.receipt

    def _trace(self) -> None:
        """In another thread."""
        journal, entries = opened_beside(self._engine)
        self._traced = trace(
            journal, entries, self._members, self._slots, patterns=self._patterns, before=self._stone.before
        )
        self._replaced = replacements(journal, entries, self._members, self._traced.plain)

    def _erase_derived(self) -> None:
        """In another thread."""
        rows = sum(erase(self._members, self._stone.before) for erase in self._engine.derived_erasers)
        removed = msgspec.structs.replace(self.receipt.removed, derived_rows=rows)
        self.receipt = msgspec.structs.replace(self.receipt, removed=removed)

    def _search(self) -> None:
        """In another thread."""
        root = self._engine.data_dir
        assert root is not None
        started = perf_counter()
        files, size, found, places = search(root, self._patterns, occurrences, self._engine.store.disk)
        self._scan = Scan(
            files,
            size,
            len(self._patterns),
            found,
            tuple([Finding(name, offset) for name, offset in places]),
            round(perf_counter() - started, 3),
        )
