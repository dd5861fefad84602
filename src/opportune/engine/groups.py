"""What is known of an account or a household: the sum of its people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opportune.errors import InvalidRequest, NotFound
from opportune.events.event import Identifier
from opportune.events.identifiers import parse
from opportune.identity.groups import MAX_GROUPS, current, is_group, merge_groups
from opportune.profiles.leaf import Leaf
from opportune.profiles.person import Person

if TYPE_CHECKING:
    from opportune.engine.queries import Queries


def group_of(engine: Queries, identifier: str) -> dict[str, Any]:
    """The group with this ``account:id`` or ``household:id``: its people, and their features as one. Raises
    :class:`NotFound` and :class:`InvalidRequest`. O(leaves of its people)."""
    key = parse(identifier)
    if not key or not is_group(key):
        raise InvalidRequest(
            "this is no account and no household", seen=identifier, remedy="write account:ID or household:ID"
        )
    people = people_of(engine, key)
    if not people:
        raise NotFound("nobody is known in this group", seen=identifier, remedy="check the id")
    leaf = engine.state.leaf
    names = [name for members in people for name in members]
    person = Person(engine.state.person, names, [leaf(name) for name in names])
    newest = max(leaf(name).newest for name in names)
    return {
        "id": key,
        "people": [{"id": members[0], "identifiers": list(members)} for members in people],
        "features": engine.workspace.fence.without_features(
            dict(person.features(engine.clock())), "profiles"
        ),
        "last_seen": newest,
    }


def people_of(engine: Queries, group: Identifier) -> list[tuple[Identifier, ...]]:
    """The identifiers of each member of a group, each person once, as they are joined now."""
    leaf, members = engine.state.leaf, engine.state.components.members
    found: dict[tuple[Identifier, ...], None] = {}
    for name in sorted(leaf(group).members):
        person = members(name)
        if group in groups_of([leaf(one) for one in person]):
            found.setdefault(person)
    return list(found)


def groups_of(leaves: Sequence[Leaf]) -> tuple[Identifier, ...]:
    """The groups of the person with these leaves. 0.1 us where there is none."""
    held = [leaf.groups for leaf in leaves if leaf.groups]
    if not held:
        return ()
    every = held[0]
    for other in held[1:]:
        every = merge_groups(every, other, MAX_GROUPS)
    return current(every)
