"""What one entry does to one leaf: the same folds as on one machine, one leaf at a time.

On one machine an event is folded into the leaf of its strongest identifier, and the leaves of the others hear
whom it linked them to. In a cluster those live in other partitions, so the second half travels there by
itself; what is known under one identifier is then the sum of two records, :func:`whole`.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy

import msgspec

from opportune.decide.request import DecisionRecord
from opportune.events.consent import NOTHING, statement_of
from opportune.events.event import Event, Identifier
from opportune.identity.groups import MAX_MEMBERS, merge_groups
from opportune.identity.links import add
from opportune.profiles.consent.policy import Use
from opportune.profiles.consent.record import Consent
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema


def fold_event(schema: ProfileSchema, leaf: Leaf, event: Event, seq: int) -> None:
    """An event into the leaf of its strongest identifier, in place."""
    _fold_consent(leaf, event)
    if event.withheld & Use.COLLECT:
        leaf.offset = seq
    else:
        schema.fold(leaf, event, seq)


def fold_end(schema: ProfileSchema, leaf: Leaf, event: Event, identifier: Identifier, seq: int) -> None:
    """What an event says of ``identifier``, one of its others, in place."""
    _fold_consent(leaf, event)
    if event.withheld & Use.COLLECT:
        leaf.offset = seq
    else:
        schema.fold_link(leaf, event, identifier, seq)


def fold_decision(schema: ProfileSchema, leaf: Leaf, record: DecisionRecord, seq: int) -> None:
    """A decision into the leaf of the strongest identifier that it was made for, in place."""
    shown = record.candidates[: record.shown]
    schema.fold_decision(leaf, record.decision_id, record.placement, record.time, shown, seq)
    for assignment in record.assignments:
        if assignment.key:
            schema.fold_exposure(leaf, assignment.key, assignment.arm, record.time)


def _fold_consent(leaf: Leaf, event: Event) -> None:
    said = statement_of(event)
    if said is not NOTHING:
        if leaf.consent is None:
            leaf.consent = Consent(choices={})
        leaf.consent.fold(event, said)


def forget(leaf: Leaf, members: Collection[Identifier], seq: int) -> bool:
    """A neighbour of people who are erased knows them no more; whether it did."""
    knew = False
    for name in members:
        for known in (leaf.links, leaf.groups, leaf.members):
            knew = known.pop(name, None) is not None or knew
    if knew:
        leaf.offset = seq
    return knew


def end_of(event: Event) -> Event:
    """What the others need to hear of an event: who was named, when, on what evidence, and any word on
    consent."""
    says = statement_of(event) is not NOTHING
    return Event(
        event.kind,
        event.name,
        event.message_id,
        event.source,
        event.time,
        event.received,
        event.identifiers,
        properties=event.properties if says else {},
        context=event.context if says else {},
        withheld=event.withheld,
    )


def whole(leaf: Leaf, end: Leaf) -> Leaf:
    """All that is known under one identifier: what came in its own name, and what it was told of. ``leaf``
    takes it in; ``end`` stays as it is. O(links)."""
    for other, evidence in end.links.items():
        add(leaf.links, other, copy(evidence))
    if end.members:
        leaf.members = merge_groups(leaf.members, end.members, MAX_MEMBERS)
    if end.consent is not None:
        leaf.consent = end.consent if leaf.consent is None else merged(leaf.consent, end.consent)
    return leaf


def merged(a: Consent, b: Consent) -> Consent:
    """The latest word on each category, whichever record has it."""
    out = msgspec.structs.replace(a, choices=dict(a.choices))
    for category, choice in b.choices.items():
        known = out.choices.get(category)
        if known is None or choice.later_than(known):
            out.choices[category] = choice
    if (b.located, b.jurisdiction) > (out.located, out.jurisdiction):
        out.located, out.jurisdiction = b.located, b.jurisdiction
    return out
