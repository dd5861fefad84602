"""Erasure: a person is taken out of everything that the data folder holds, and it is proven.

In this order, so that a crash at any point is finished by the next start: the tombstone becomes durable;
state forgets the person; the journal is read for what else is theirs, and a second line of the tombstone
lists all keys to destroy; a checkpoint says so; the keys are destroyed; entries that were never sealed are
written anew; checkpoint files that still hold the old bytes are merged away; every file is searched.

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
    before: int = 0,
) -> Trace:
    """Find every entry about the person: sealed with one of their keys, or naming them, or a dead letter with
    their identifiers in it. Only what stands ``before`` a number, where one is given. O(journal): sealed
    entries of others are not opened."""
    found = Trace(slots=set(slots))
    names = set(members)
    for seq, data in journal.scan_all():
        if before and seq >= before:
            break
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


def forget(state: State, members: Sequence[Identifier], before: int = 0) -> Removed:
    """Let the folded state know these identifiers no more, as far as it can be told without reading the
    journal; what there was. With ``before``, leaves into which
    something was folded from that entry on are somebody new and stay. O(what is known of the person)."""
    records = state.records
    links = touches = leaves = 0
    decisions: set[str] = set()
    names = {name for name in members if not before or state.leaf(name).offset < before}
    for name in members:
        if name not in names:
            continue
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
    for name in members:
        if name in names:
            leaves += records.delete(keys.LEAF + name)
            state.models.log.forget(name)
        state.components.forget(name)
    outcomes = sum(records.delete(keys.OUTCOMES + decision) for decision in sorted(decisions))
    state.bandits.forget(decisions)
    state.reviews.forget(names)
    return Removed(identifiers=len(members), leaves=leaves, links=links, outcomes=outcomes, touches=touches)


def forget_traced(state: State, removed: Removed, traced: Trace) -> Removed:
    """Let the state forget what only the journal knew to be theirs; all that was removed."""
    records = state.records
    sessions = [f"{keys.SESSION}{name}|{session}" for name, session in sorted(traced.sessions)]
    n_sessions = sum(records.delete(key) for key in sessions)
    outcomes = sum(records.delete(keys.OUTCOMES + decision) for decision in sorted(traced.decisions))
    letters = sum(state.dead_letters.erase(letter_id) for letter_id in sorted(traced.letters))
    state.bandits.forget(traced.decisions)
    return msgspec.structs.replace(
        removed,
        sessions=n_sessions,
        outcomes=removed.outcomes + outcomes,
        dead_letters=max(letters, len(traced.letters)),
        entries=len(traced.seqs),
        keys=len(traced.slots),
        rewritten=len(traced.plain),
    )


def resume(
    journal: Journal,
    entries: SealedEntries,
    state: State,
    checkpoints: Checkpoints,
    pending: Sequence[Tombstone],
) -> None:
    """Finish erasures that a crash cut short, or that a restored checkpoint has not seen; the checkpoint then
    says so before a key goes. O(leaves + journal)."""
    vault = entries.with_vault()
    doomed: set[int] = set()
    replaced: dict[int, bytes] = {}
    plainly = SealedEntries(vault, seal=False)
    for stone in {stone.id: stone for stone in pending if stone.erased}.values():
        marks = {bytes.fromhex(mark) for mark in stone.marks}
        members = [
            name
            for key, _ in state.records.items(keys.LEAF)
            if vault.pseudonym(name := key.removeprefix(keys.LEAF)) in marks
        ]
        slots = set(stone.slots)
        slots |= {
            leaf.slot
            for name in members
            if (leaf := state.leaf(name)).slot >= 0 and not (stone.before and leaf.offset >= stone.before)
        }
        traced = trace(journal, entries, members, slots, patterns=needles(members), before=stone.before)
        replaced |= replacements(journal, plainly, members, traced.plain)
        forget_traced(state, forget(state, members, stone.before), traced)
        doomed |= traced.slots
    begun = set(range(len(vault.tombstones) - len(pending), len(vault.tombstones))) if replaced else set()
    entries.unfinished |= begun
    checkpoints.run()
    vault.destroy(doomed)
    vault.renew_backup_key()
    entries.forget(sorted(doomed), ())
    if replaced:
        journal.rewrite(replaced)
        entries.unfinished -= begun
        checkpoints.run()


def replacements(
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
