"""One erasure from its request to its receipt: a short part on the engine's thread, a long one on any."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from opportune.engine.erasure import trace
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


DerivedEraser = Callable[[Sequence[Identifier]], int]
"""Takes people out of tables that follow the journal; how many rows."""


class Erasing:
    """:meth:`begin` on the engine's thread, then :meth:`finish` on any. After ``begin`` nothing that the
    engine answers knows the person; after ``finish`` no file does."""

    def __init__(self, engine: Engine, identifiers: Sequence[str], *, suppress: bool = False) -> None:
        """Everybody whom the identifiers lead to. ``suppress``: nothing of them is taken in ever again.
        Raises :class:`InvalidRequest` for what names nobody."""
        self._engine = engine
        self._suppress = suppress
        self._named = [named(identifier) for identifier in identifiers]
        self._patterns: list[bytes] = []
        self.id = secrets.token_hex(8)
        self.receipt: Receipt
        self.failure = ""

    def begin(self) -> None:
        """Make what was admitted durable, forget the person, destroy the keys. O(journal) to find the
        person's entries, O(what changed since the last checkpoint) for the rest. Raises StorageError."""
        engine = self._engine
        engine.settle()
        entries, state = engine.entries, engine.state
        vault = entries.with_vault()
        members = list(dict.fromkeys(i for key in self._named for i in engine.component(key).identifiers))
        self._patterns = needles(members)
        slots = {slot for name in members if (slot := state.leaf(name).slot) >= 0}
        traced = trace(engine.journal, entries, members, slots, patterns=self._patterns)
        at = engine.clock()
        marks = tuple([vault.pseudonym(name).hex() for name in members])
        vault.record(
            Tombstone(self.id, at, marks, suppress=self._suppress, slots=tuple(sorted(traced.slots)))
        )
        removed = engine.carry_out(members, traced)
        if engine.data_dir is not None:
            LikelyStore(engine.data_dir).forget()
        derived = sum(erase(members) for erase in engine.derived_erasers)
        self.receipt = Receipt(
            id=self.id,
            state="INITIALIZED",
            at=at,
            finished=at,
            subjects=marks,
            suppressed=self._suppress,
            removed=msgspec.structs.replace(removed, derived_rows=derived),
            scan=None,
        )

    def finish(self) -> Receipt:
        """Merge away the files that still hold old bytes, search every file of the data folder, sign and keep
        the receipt. O(bytes of the folder). Raises StorageError; may be called again then."""
        engine = self._engine
        root = engine.data_dir
        vault = engine.entries.with_vault()
        engine.store.compact(everything=True)
        scan = None
        if root is not None:
            started = perf_counter()
            files, size, found, places = search(root, self._patterns, occurrences, engine.store.disk)
            scan = Scan(
                files,
                size,
                len(self._patterns),
                found,
                tuple([Finding(name, offset) for name, offset in places]),
                round(perf_counter() - started, 3),
            )
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
        return self.receipt
