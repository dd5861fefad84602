"""Households and accounts: entities above people, of which several people are members.

Membership lives at the leaf, like everything that is known of a person: the leaf of an event's strongest
identifier remembers which accounts and households it was seen with, and the group's own leaf which leaves
those are. A group is the sum of its members' people, so merging people and taking them apart keeps it right
without moving anything. An account comes with events (``group`` calls, ``context.groupId``); a household is
what ``identity.yaml`` makes of traits (``household: [postal_code, street]``), or an external id of that type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from opportune.clock import Millis
from opportune.events.event import Event, Identifier
from opportune.events.identifiers import NOT_A_PERSON

ACCOUNT, HOUSEHOLD = "account", "household"
MAX_GROUPS = 16
"""Groups remembered per leaf, and :data:`MAX_MEMBERS` leaves per group; of more, those whose names sort
first: a rule that no order of arrival changes."""
MAX_MEMBERS = 500
_HEX = 24


def is_group(identifier: Identifier) -> bool:
    return identifier.partition(":")[0] in NOT_A_PERSON


def household_of(traits: Mapping[str, Any], names: Sequence[str]) -> Identifier:
    """The household of somebody with these traits; empty when one of them is missing. Case, spaces and
    punctuation do not matter.

    >>> one = household_of({"street": "Main St. 5", "zip": 8000}, ["street", "zip"])
    >>> one == household_of({"street": "main st 5", "zip": "8000"}, ["street", "zip"]) != ""
    True
    """
    parts = []
    for name in names:
        value = traits.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return ""
        plain = "".join(ch for ch in str(value).casefold() if ch.isalnum())
        if not plain:
            return ""
        parts.append(plain)
    digest = blake2b("\0".join(parts).encode(), digest_size=_HEX // 2, person=b"household").hexdigest()
    return f"{HOUSEHOLD}:{digest}"


def stamp(event: Event, names: Sequence[str]) -> None:
    """Put the household that an event's traits name among its identifiers, the weakest."""
    if event.traits and event.identifiers and event.kind != "group":
        found = household_of(event.traits, names)
        if found and found not in event.identifiers:
            event.identifiers = (*event.identifiers, found)


def fold_groups(groups: dict[Identifier, Millis], event: Event) -> None:
    """What an event says of its strongest identifier's groups, in place. 0.1 us where it says nothing."""
    for identifier in event.identifiers[1:]:
        if is_group(identifier) and not is_group(event.identifiers[0]):
            _latest(groups, identifier, event.time, MAX_GROUPS)


def fold_member(members: dict[Identifier, Millis], event: Event) -> None:
    """Into the leaf of a group: who was seen with it."""
    first = event.identifiers[0]
    if not is_group(first):
        _latest(members, first, event.time, MAX_MEMBERS)


def merge_groups(a: Mapping[str, Millis], b: Mapping[str, Millis], most: int) -> dict[str, Millis]:
    """Both as one new map, the later times."""
    out = dict(a)
    for name, time in b.items():
        _latest(out, name, time, most)
    return out


def current(groups: Mapping[Identifier, Millis]) -> tuple[Identifier, ...]:
    """The groups that somebody is in: every account, and the household they were seen with last; newest
    first."""
    ordered = sorted(groups, key=lambda name: (-groups[name], name))
    homes = [name for name in ordered if name.startswith(f"{HOUSEHOLD}:")]
    return tuple([name for name in ordered if name not in homes[1:]])


def _latest(known: dict[str, Millis], name: str, time: Millis, most: int) -> None:
    before = known.get(name)
    if before is None or time > before:
        known[name] = time
        if len(known) > most:
            del known[max(known)]
