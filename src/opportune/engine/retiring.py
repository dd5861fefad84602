"""Retention carried out: what is past its time is taken out of journal, state and tables, and said.

:meth:`Retiring.look` reads the journal and folds anew whoever has something in it that is past its time; it
may run in any thread. :meth:`Retiring.carry_out`, on the engine's thread, swaps that state in, makes it
durable with a checkpoint, and only then takes the entries out of the journal's files: a crash in between is
caught up by the next run, which finds the same entries again.

Files of the journal are written anew; earlier backups keep what they have until a key goes: a key is
destroyed when everything that it sealed is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from opportune.clock import Millis
from opportune.decide.request import DecisionRecord
from opportune.engine import keys
from opportune.engine.entries import Entry
from opportune.engine.refolding import Refold
from opportune.engine.sealed import SealedEntries
from opportune.events.consent import NOTHING, statement_of
from opportune.events.dedupe import digest
from opportune.events.event import DeadLetter, Event
from opportune.events.rights import RECTIFIED
from opportune.identity.links import links_of
from opportune.privacy.retention import Retention, residue
from opportune.privacy.sealing import GONE_SLOT, Erased, gone, is_sealed, slot_of
from opportune.stores.disk import RealDisk
from opportune.stores.journal import Journal
from opportune.stores.vault import Vault

if TYPE_CHECKING:
    from opportune.engine.engine import Engine

REPORT = "retention"
DerivedExpirer = Callable[[Collection[int]], int]
"""Takes the rows of journal entries out of tables that follow the journal; how many."""


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """What went, or with ``dry_run`` would go: events by name, traits by name, decisions, dead letters.
    ``kept_as_evidence`` are events of which only a link or a word on consent is left, ``people`` the leaves
    that were folded anew, ``keys`` those destroyed, ``journal`` all entries that were looked at."""

    at: Millis
    dry_run: bool
    events: dict[str, int]
    traits: dict[str, int]
    decisions: int
    dead_letters: int
    kept_as_evidence: int
    people: int
    journal: int
    derived_rows: int = 0
    keys: int = 0
    seconds: float = 0.0


class Retiring:
    """One run over one engine's folder."""

    def __init__(self, engine: Engine, *, dry_run: bool = False) -> None:
        """On the engine's thread: everything admitted becomes durable, so that the look sees it."""
        engine.settle()
        self._engine = engine
        self._now = engine.clock()
        self._retention = Retention(engine.workspace.privacy.retention, self._now)
        self._dry_run = dry_run
        self._gone: dict[int, Event | bytes] = {}
        self._letters: set[str] = set()
        self._wanted: set[str] = set()
        self._slots: tuple[set[int], set[int]] = set(), set()
        self._until = engine.journal.next_seq
        self._last = 0
        self._started = perf_counter()
        self._refold = Refold(engine.state.person, engine.state.session, self._wanted)
        self.report: Retired

    def look(self) -> Retired:
        """What would go. O(journal), two passes, 10 us an entry; nothing is changed. Raises StorageError."""
        journal, entries = self._opened()
        self._find(journal, entries)
        if self._gone and not self._dry_run:
            for seq, entry in self._read(journal, entries):
                if seq >= self._until:
                    break
                self._fold(seq, entry)
        return self.report

    def carry_out(self) -> Retired:
        """Make it so: O(entries since the look + people + files that hold what goes). Raises StorageError;
        then the next run goes on."""
        engine = self._engine
        if self._dry_run or not self._gone:
            return self._finish(0, 0)
        engine.settle()
        for seq, data in engine.journal.scan(self._until):
            self._fold(seq, engine.entries.decode(data))
        checkpoints, state, entries = engine._checkpoints, engine.state, engine.entries
        checkpoints.wait()
        forgotten = []
        for key in sorted(self._wanted):
            fresh = self._refold.made.get(key)
            if fresh is None:
                if state.records.forget(key):
                    forgotten.append(key)
            else:
                record = state.records.touch(key)
                for field in record.__struct_fields__:
                    setattr(record, field, getattr(fresh, field))
            if key.startswith(keys.LEAF):
                state.components.forget(key.removeprefix(keys.LEAF))
        for letter_id in sorted(self._letters):
            state.dead_letters.erase(letter_id)
        engine.forget_people()
        checkpoints.run(forgotten)
        engine.journal.rewrite(self._replacements(entries))
        derived = sum(expire(self._gone.keys()) for expire in engine.derived_expirers)
        slots = self._destroy(entries)
        engine.store.compact(everything=True)
        return self._finish(derived, slots)

    # -- looking

    def _opened(self) -> tuple[Journal, SealedEntries]:
        """A journal and a vault of its own: the engine's belong to its thread."""
        engine = self._engine
        if engine.data_dir is None:
            return engine.journal, engine.entries
        disk = RealDisk(engine.data_dir, read_only=True)
        vault = Vault(disk) if Vault.exists(disk) else None
        return Journal.open(disk), SealedEntries(vault, seal=False)

    def _read(self, journal: Journal, entries: SealedEntries) -> Iterator[tuple[int, Entry | Erased]]:
        for seq, data in journal.scan_all():
            yield seq, entries.decode(data)

    def _find(self, journal: Journal, entries: SealedEntries) -> None:
        """Which entries go, which are reduced, and whose state they are in."""
        retention, gone_of = self._retention, self._gone
        events: Counter[str] = Counter()
        traits: Counter[str] = Counter()
        decisions = letters = looked = 0
        kept_links: set[tuple[str, str]] = set()
        lost_links: dict[tuple[str, str], int] = {}
        last_words: dict[tuple[str, str], tuple[_Word, int]] = {}
        past: dict[int, Event] = {}
        kept_slots, slots = self._slots
        for seq, data in journal.scan_all():
            if seq >= self._until:
                break
            looked += 1
            entry = entries.decode(data)
            goes = False
            if isinstance(entry, Event):
                if goes := retention.event(entry):
                    past[seq] = entry
                    events[entry.name] += 1
                    for link in links_of(entry):
                        lost_links.setdefault((link.a, link.b), seq)
                    self._concerns(entry)
                else:
                    kept_links.update((link.a, link.b) for link in links_of(entry))
                    if names := retention.traits(entry):
                        traits.update(names)
                        gone_of[seq] = _without(entry, names)
                        self._concerns(entry)
                _note_words(last_words, entry, seq)
            elif isinstance(entry, DecisionRecord):
                if goes := bool(entry.identifiers) and retention.decision(entry.time):
                    decisions += 1
                    gone_of[seq] = gone("d")
                    self._wanted.add(keys.LEAF + entry.identifiers[0])
            elif isinstance(entry, DeadLetter) and (goes := retention.letter(entry.received)):
                letters += 1
                gone_of[seq] = gone("x")
                self._letters.add(entry.letter_id)
            if is_sealed(data) and (slot := slot_of(data)) != GONE_SLOT and not isinstance(entry, Erased):
                (slots if goes else kept_slots).add(slot)
        evidence = {seq for pair, seq in lost_links.items() if pair not in kept_links}
        words = {seq for _, seq in last_words.values()} & past.keys()
        for seq, event in past.items():
            left = seq in evidence or seq in words
            if not left:
                gone_of[seq] = gone("e", digest(event.source, event.message_id), event.received)
                continue
            gone_of[seq] = residue(event, with_consent=seq in words)
            if event.slot >= 0:
                kept_slots.add(event.slot)
        self.report = Retired(
            at=self._now,
            dry_run=self._dry_run,
            events=dict(sorted(events.items())),
            traits=dict(sorted(traits.items())),
            decisions=decisions,
            dead_letters=letters,
            kept_as_evidence=len(evidence | words),
            people=sum(key.startswith(keys.LEAF) for key in self._wanted),
            journal=looked,
            seconds=round(perf_counter() - self._started, 3),
        )

    def _concerns(self, event: Event) -> None:
        wanted = self._wanted
        wanted.update([keys.LEAF + name for name in event.identifiers])
        if event.session_id:
            wanted.add(f"{keys.SESSION}{event.identifiers[0]}|{event.session_id}")
        if event.decision_id:
            wanted.add(keys.OUTCOMES + event.decision_id)

    def _fold(self, seq: int, entry: Entry | Erased) -> None:
        if seq in self._gone:
            left = self._gone[seq]
            if isinstance(left, bytes):
                return
            entry = left
        self._refold.fold(seq, entry)

    # -- carrying out

    def _replacements(self, entries: SealedEntries) -> dict[int, bytes]:
        return {
            seq: left if isinstance(left, bytes) else entries.encode_again(left)
            for seq, left in self._gone.items()
        }

    def _destroy(self, entries: SealedEntries) -> int:
        """Destroy the keys of which nothing is left."""
        kept, lost = self._slots
        in_use = {one.slot for key, one in self._refold.made.items() if key.startswith(keys.LEAF)}
        doomed = sorted(lost - kept - in_use)
        if doomed and entries.vault is not None:
            entries.vault.destroy(doomed)
            entries.forget(doomed, ())
        return len(doomed)

    def _finish(self, derived: int, slots: int) -> Retired:
        took = round(perf_counter() - self._started, 3)
        self.report = msgspec.structs.replace(self.report, derived_rows=derived, keys=slots, seconds=took)
        if not self._dry_run:
            text = msgspec.json.format(msgspec.json.encode(self.report), indent=1)
            self._engine.entries.with_vault().keep_receipt(REPORT, text)
        return self.report


def _without(event: Event, names: Collection[str]) -> Event | bytes:
    """The event as if it had never said these traits; nothing of a correction of one."""
    if event.name == RECTIFIED:
        return gone("e", digest(event.source, event.message_id), event.received)
    return msgspec.structs.replace(
        event, traits={name: value for name, value in event.traits.items() if name not in names}
    )


_Word = tuple[Millis, bool, str, str]


def _note_words(last: dict[tuple[str, str], tuple[_Word, int]], event: Event, seq: int) -> None:
    """Remember which event has the last word on what, as :class:`Choice` decides it."""
    said = statement_of(event)
    if said is NOTHING:
        return
    words = [(category, not allowed) for category, allowed in said.choices.items()]
    if said.jurisdiction:
        words.append(("", False))
    for name in event.identifiers:
        for category, is_no in words:
            word = (event.time, is_no, said.jurisdiction if not category else event.message_id, event.source)
            known = last.get((name, category))
            if known is None or word > known[0]:
                last[name, category] = (word, seq)
