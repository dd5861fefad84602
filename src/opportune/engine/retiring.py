"""Retention carried out: what is past its time is taken out of journal, state and tables, and said.

:meth:`Retiring.look` reads the journal and folds anew whoever has something in it that is past its time; it
may run in any thread. :meth:`Retiring.turns`, on the engine's thread, swaps that state in, a few people at a
time, makes it durable with a checkpoint, and only then takes the entries out of the journal's files: a crash
in between is caught up by the next run, which finds the same entries again.

Files of the journal are written anew; earlier backups keep what they have until a key goes: a key is
destroyed when everything that it sealed is gone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from opportune.clock import Millis
from opportune.decide.request import DecisionRecord
from opportune.engine import keys
from opportune.engine.beside import opened_beside
from opportune.engine.entries import Entry
from opportune.engine.refolding import Refold
from opportune.engine.sealed import SealedEntries
from opportune.engine.turns import TURN_S, Turns, at_once
from opportune.events.consent import NOTHING, statement_of
from opportune.events.dedupe import digest
from opportune.events.event import DeadLetter, Event
from opportune.events.rights import RECTIFIED
from opportune.identity.links import links_of
from opportune.privacy.retention import Retention, residue
from opportune.privacy.sealing import GONE_SLOT, Erased, gone, is_sealed, slot_of
from opportune.profiles.leaf import Leaf
from opportune.stores.journal import Journal

if TYPE_CHECKING:
    from opportune.engine.engine import Engine

REPORT = "retention"
_ROUNDS = 8
_FEW = 200
"""Entries that the engine's thread may fold in one turn."""
DerivedExpirer = Callable[[Collection[int]], int]
"""Takes the rows of journal entries out of tables that follow the journal; how many. Not on the engine's
thread."""


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
        self._left: deque[str] = deque()
        self._in_use: set[int] = set()
        self._derived = self._keys = 0
        self._started = perf_counter()
        self._refold = Refold(engine.state.person, engine.state.session, self._wanted)
        self.report: Retired

    def look(self) -> Retired:
        """What would go. O(journal), two passes, 10 us an entry; nothing is changed. Raises StorageError."""
        journal, entries = opened_beside(self._engine)
        self._find(journal, entries)
        if self._gone and not self._dry_run:
            for seq, entry in self._read(journal, entries):
                if seq >= self._until:
                    break
                self._fold(seq, entry)
        return self.report

    def turns(self) -> Turns:
        """Make it so: O(entries since the look + people + files that hold what goes), nearly all of it
        elsewhere. Raises StorageError; then the next run goes on."""
        engine = self._engine
        if not self._dry_run and self._gone:
            yield self._catch_up
            yield from self._swap()
            yield from engine.checkpoint_turns()
            yield self._rewrite
            yield self._expire
            yield from self._destroy()
            yield lambda: engine.store.compact(everything=True)
        self._finish()

    def carry_out(self) -> Retired:
        """All turns at once, for who serves nobody else meanwhile."""
        at_once(self.turns())
        return self.report

    # -- looking

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

    def _catch_up(self) -> None:
        """In another thread: fold what came since the look, so that little is left for the engine's."""
        for _ in range(_ROUNDS):
            folded = self._engine.state.next_seq
            if folded - self._until < _FEW:
                break
            journal, entries = opened_beside(self._engine)
            self._fold_until(folded, journal, entries)
        self._left = deque(sorted(self._wanted))

    def _fold_until(self, folded: int, journal: Journal, entries: SealedEntries) -> None:
        """Fold what the live state has folded too. Keys that seal any of it are in use."""
        for seq, data in journal.scan(self._until):
            if seq >= folded:
                break
            self._take(seq, data, entries)
        while journal is self._engine.journal and self._until < folded:
            self._take(self._until, journal.read(self._until), entries)  # a decision that is not on disk yet

    def _take(self, seq: int, data: bytes, entries: SealedEntries) -> None:
        if is_sealed(data):
            self._in_use.add(slot_of(data))
        self._fold(seq, entries.decode(data))
        self._until = seq + 1

    def _swap(self) -> Turns:
        """Put what was folded anew in the place of what is there. What happens in between is folded into
        what is still to come; what was swapped in is the live state's, and folded there."""
        engine, state = self._engine, self._engine.state
        letters = deque(sorted(self._letters))
        while self._left or letters:
            until = perf_counter() + TURN_S
            self._fold_until(state.next_seq, engine.journal, engine.entries)
            while True:
                if self._left:
                    self._swap_one(self._left.popleft())
                elif letters:
                    state.dead_letters.erase(letters.popleft())
                else:
                    break
                if perf_counter() >= until:
                    break
            yield None
        engine.forget_people()
        # An event that was sealed before its leaf went and is folded after it keeps its key.
        engine.settle()
        self._fold_until(state.next_seq, engine.journal, engine.entries)
        yield None

    def _swap_one(self, key: str) -> None:
        state = self._engine.state
        self._wanted.discard(key)
        fresh = self._refold.made.pop(key, None)
        if fresh is None:
            state.records.delete(key)
        else:
            record = state.records.touch(key)
            for field in record.__struct_fields__:
                setattr(record, field, getattr(fresh, field))
            if isinstance(fresh, Leaf):
                self._in_use.add(fresh.slot)
        if key.startswith(keys.LEAF):
            state.components.forget(key.removeprefix(keys.LEAF))

    def _rewrite(self) -> None:
        """In another thread."""
        _, entries = opened_beside(self._engine)
        self._engine.journal.rewrite(
            {
                seq: left if isinstance(left, bytes) else entries.encode_again(left)
                for seq, left in self._gone.items()
            }
        )

    def _expire(self) -> None:
        """In another thread."""
        self._derived = sum(expire(self._gone.keys()) for expire in self._engine.derived_expirers)

    def _destroy(self) -> Turns:
        """Destroy the keys of which nothing is left."""
        entries = self._engine.entries
        kept, lost = self._slots
        doomed = sorted(lost - kept - self._in_use)
        if not doomed or entries.vault is None:
            return
        for slots in entries.vault.by_file(doomed):
            entries.vault.destroy(slots)
            entries.forget(slots, ())
            yield None
        self._keys = len(doomed)

    def _finish(self) -> None:
        took = round(perf_counter() - self._started, 3)
        self.report = msgspec.structs.replace(
            self.report, derived_rows=self._derived, keys=self._keys, seconds=took
        )
        if not self._dry_run:
            text = msgspec.json.format(msgspec.json.encode(self.report), indent=1)
            self._engine.entries.with_vault().keep_receipt(REPORT, text)


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
