"""Who is in a segment now, as the derived tables know people."""

from __future__ import annotations

from collections.abc import Callable

from opportune.engine import keys
from opportune.engine.engine import Engine
from opportune.events.event import Identifier
from opportune.profiles.likely import dial
from opportune.profiles.person import Person


def leaves_in(engine: Engine, segment: str, key_of: Callable[[str], int]) -> set[int]:
    """The leaves of everybody in the segment, of whom something is known, as ``key_of`` writes them.
    O(people), some 30 us each."""
    state, now = engine.state, engine.clock()
    found, done = set[int](), set[Identifier]()
    for key in [key for key, data in state.records.items(keys.LEAF) if data]:
        name = key.removeprefix(keys.LEAF)
        if name in done:
            continue
        members = engine.component(name).identifiers
        done.update(members)
        person = Person(state.person, members, [state.leaf(member) for member in members])
        person.company, person.kin = engine.company, engine.kin
        if segment in engine.workspace.segments.of(person.features(now), dial(person, now)):
            found.update(map(key_of, members))
    return found
