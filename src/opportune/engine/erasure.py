"""Erasure: a person is taken out of everything that the data folder holds, and it is proven.

In this order, so that a crash at any point is finished by the next start: the tombstone (which lists the keys
to destroy) becomes durable; state forgets the person, and a checkpoint says so; the keys are destroyed;
checkpoint files that still hold the old bytes are merged away; every file is searched.

What everybody taught together stays as counts that belong to nobody: how often an item was viewed or bought,
what bandits learnt, the rows of the interaction log (which name sessions by number only).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from opportune.decide.request import DecisionRecord
from opportune.engine import keys
from opportune.engine.checkpoints import Checkpoints
from opportune.engine.sealed import SealedEntries
from opportune.engine.state import State
from opportune.events.dedupe import digest
from opportune.events.event import DeadLetter, Event, Identifier
from opportune.privacy.needles import needles, occurrences
from opportune.privacy.receipt import Removed
from opportune.privacy.sealing import Erased, gone, is_sealed, kind_of, slot_of
from opportune.stores.journal import Journal
from opportune.stores.vault import Tombstone


class Trace(msgspec.Struct):
    """What the journal holds of a person: where, and the names of what else is kept of them."""

    seqs: list[int] = []
    slots: set[int] = set()
    plain: set[int] = set()
    sessions: set[tuple[Identifier, str]] = set()
    decisions: set[str] = set()
    letters: set[str] = set()


def trace(
    journal: Journal,
    entries: SealedEntries,
    members: Sequence[Identifier],
    slots: Iterable[int],
    *,
    patterns: Sequence[bytes] = (),
) -> Trace:
    """Find every entry about the person: sealed with one of their keys, or naming them, or a dead letter with
    their identifiers in it. O(journal): sealed entries of others are not opened."""
    found = Trace(slots=set(slots))
    names = set(members)
    for seq, data in journal.scan_all():
        if is_sealed(data):
            is_letter = kind_of(data) == "x"
            if slot_of(data) not in found.slots and not is_letter:
                continue
            entry = entries.read(data)
            if isinstance(entry, DeadLetter):
                if not _mentions(entry.raw, patterns):
                    continue
                found.slots.add(slot_of(data))
        else:
            entry = entries.read(data)
            if isinstance(entry, DeadLetter):
                if not _mentions(entry.raw, patterns):
                    continue
            elif not isinstance(entry, Event | DecisionRecord) or names.isdisjoint(entry.identifiers):
                continue
            found.plain.add(seq)
        if isinstance(entry, Erased):
            continue
        found.seqs.append(seq)
        if isinstance(entry, Event):
            if entry.session_id:
                found.sessions.add((entry.identifiers[0], entry.session_id))
        elif isinstance(entry, DecisionRecord):
            found.decisions.add(entry.decision_id)
        elif isinstance(entry, DeadLetter):
            found.letters.add(entry.letter_id)
    return found


def _mentions(raw: bytes, patterns: Sequence[bytes]) -> bool:
    text = raw.lower()
    return any(next(iter(occurrences(text, pattern)), -1) >= 0 for pattern in patterns)


def forget(state: State, members: Sequence[Identifier], traced: Trace) -> tuple[Removed, list[str]]:
    """Take the person out of the folded state; what there was, and the records that the next checkpoint must
    delete. No checkpoint may be under way."""
    records = state.records
    links = touches = leaves = 0
    decisions = set(traced.decisions)
    names = set(members)
    for name in members:
        leaf = state.leaf(name)
        decisions.update(exposure.decision_id for exposure in leaf.exposures)
        touches += len(leaf.touches)
        links += len(leaf.links)
        for group in leaf.groups:
            if records.peek(keys.LEAF + group) is not None:
                records.touch(keys.LEAF + group).members.pop(name, None)
        for one in leaf.members:
            if one not in names and records.peek(keys.LEAF + one) is not None:
                records.touch(keys.LEAF + one).groups.pop(name, None)
        for other in [other for other in leaf.links if other not in names]:
            if records.peek(keys.LEAF + other) is not None:
                theirs = records.touch(keys.LEAF + other)
                if theirs.links.pop(name, None) is not None:
                    links += 1
                state.components.forget(other)
    doomed = [keys.LEAF + name for name in members]
    sessions = [f"{keys.SESSION}{name}|{session}" for name, session in sorted(traced.sessions)]
    outcomes = [keys.OUTCOMES + decision_id for decision_id in sorted(decisions)]
    leaves = sum(records.forget(key) for key in doomed)
    n_sessions = sum(records.forget(key) for key in sessions)
    n_outcomes = sum(records.forget(key) for key in outcomes)
    for name in members:
        state.components.forget(name)
        state.models.log.forget(name)
    letters = sum(state.dead_letters.erase(letter_id) for letter_id in sorted(traced.letters))
    state.bandits.forget(decisions)
    state.reviews.forget(names)
    removed = Removed(
        identifiers=len(members),
        leaves=leaves,
        links=links,
        sessions=n_sessions,
        outcomes=n_outcomes,
        touches=touches,
        dead_letters=max(letters, len(traced.letters)),
        entries=len(traced.seqs),
        keys=len(traced.slots),
        rewritten=len(traced.plain),
    )
    return removed, [*doomed, *sessions, *outcomes]


def carry_out(
    journal: Journal,
    entries: SealedEntries,
    state: State,
    checkpoints: Checkpoints,
    members: Sequence[Identifier],
    traced: Trace,
) -> Removed:
    """State forgets, a checkpoint says so, the keys are destroyed, entries that were never sealed leave their
    files. The tombstone is durable already. Raises StorageError: the next start goes on."""
    vault = entries.with_vault()
    checkpoints.wait()
    replacements = _replacements(journal, entries, members, traced.plain)
    removed, doomed = forget(state, members, traced)
    checkpoints.run(doomed)
    vault.destroy(traced.slots)
    vault.renew_backup_key()
    entries.forget(sorted(traced.slots), members)
    if replacements:
        journal.rewrite(replacements)
    return removed


def resume(
    journal: Journal,
    entries: SealedEntries,
    state: State,
    checkpoints: Checkpoints,
    pending: Sequence[Tombstone],
) -> None:
    """Finish erasures that a crash cut short, or that a restored checkpoint has not seen. O(leaves +
    journal)."""
    vault = entries.with_vault()
    marks = {bytes.fromhex(mark) for stone in pending if stone.erased for mark in stone.marks}
    slots = {slot for stone in pending for slot in stone.slots}
    members = [
        name
        for key, _ in state.records.items(keys.LEAF)
        if vault.pseudonym(name := key.removeprefix(keys.LEAF)) in marks
    ]
    slots |= {slot for name in members if (slot := state.leaf(name).slot) >= 0}
    traced = trace(journal, entries, members, slots, patterns=needles(members))
    carry_out(journal, entries, state, checkpoints, members, traced)


def _replacements(
    journal: Journal, entries: SealedEntries, members: Sequence[Identifier], plain: Collection[int]
) -> dict[int, bytes]:
    """What is to stand in the journal in the place of entries that were never sealed: nothing, or, where
    another person is the strongest identifier, the event without these members."""
    replaced: dict[int, bytes] = {}
    if not plain:
        return replaced
    names = set(members)
    for seq, data in journal.scan_all():
        if seq not in plain:
            continue
        entry = entries.read(data)
        if isinstance(entry, Event):
            if entry.identifiers and entry.identifiers[0] not in names:
                replaced[seq] = entries.encode(redacted(entry, names))
            else:
                replaced[seq] = gone("e", digest(entry.source, entry.message_id), entry.received)
        else:
            replaced[seq] = gone("x" if isinstance(entry, DeadLetter) else "d")
    return replaced


def redacted(event: Event, names: Collection[Identifier]) -> Event:
    """The event as if it had never named these identifiers: not among its own, and in no text of it."""
    values = tuple({name.partition(":")[2].lower() for name in names})

    def without(value: Any) -> Any:
        if isinstance(value, str):
            return "" if any(told in value.lower() for told in values) else value
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [without(inner) for inner in value]
        return value

    return msgspec.structs.replace(
        event,
        identifiers=tuple([name for name in event.identifiers if name not in names]),
        properties=without(event.properties),
        traits=without(event.traits),
        context=without(event.context),
        query=without(event.query),
    )
