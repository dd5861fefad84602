"""People as rows that can be compared: one per person, from their traits and what they are reached by."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from opportune.engine import keys
from opportune.engine.state import State
from opportune.events.event import Identifier
from opportune.identity.components import resolve
from opportune.profiles.person import Person

CONTACTS = ("email", "phone")
"""Types of identifiers that are compared like traits."""
FEWEST = 2
"""Values without which a person is not compared."""


def people(state: State, without: Collection[str] = ()) -> Iterator[tuple[Identifier, dict[str, str]]]:
    """Everybody of whom at least two things are known, traits ``without`` these. O(people), 20 us each."""
    done: set[Identifier] = set()
    for key in sorted(key for key, data in state.records.items(keys.LEAF) if data):
        name = key.removeprefix(keys.LEAF)
        if name in done:
            continue
        component = resolve(name, state.links_of, state.rules)
        done.update(component.identifiers)
        leaves = [state.leaf(member) for member in component.identifiers]
        person = Person(state.person, component.identifiers, leaves)
        row = row_of(person, without)
        if len(row) >= FEWEST:
            yield component.person_id, row


def row_of(person: Person, without: Collection[str] = ()) -> dict[str, str]:
    """What somebody is compared by."""
    row = {
        trait: str(value)
        for trait, value in person.traits.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool) and trait not in without
    }
    for member in person.identifiers:
        kind, _, value = member.partition(":")
        if kind in CONTACTS:
            row.setdefault(kind, value)
    return row
