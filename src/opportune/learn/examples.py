"""What people were like at a time, and whether they did it soon after: rows for propensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events.event import Event
from opportune.identity.as_of import FOREVER, MembersAsOf
from opportune.profiles.pointintime import values_as_of
from opportune.profiles.schema import ProfileSchema


class Examples(msgspec.Struct, frozen=True):
    """Parallel: features as they were, whether the outcome followed, whose (the strongest identifier that
    they had then) and when."""

    rows: list[dict[str, Any]]
    outcome: list[bool]
    leaf: list[str]
    time: list[Millis]


def examples(
    schema: ProfileSchema,
    events: Iterable[Event],
    *,
    times: Sequence[Millis],
    horizon: Millis,
    outcome: str = "order_completed",
    absent: bool = False,
    active: Millis | None = None,
    members: MembersAsOf | None = None,
) -> Examples:
    """For each of ``times``, everybody who had been seen by then (within ``active`` milliseconds, if given):
    their features as of then, and whether an event named ``outcome`` followed within ``horizon``; ``absent``
    asks whether none did (to churn); the empty name stands for any event. Features never contain what came
    after: the same fold reads them.

    ``members`` says who was who at a time: a row is a person as a decision would have seen them then, and the
    outcome counts under whichever identifier it came. Without, every leaf is a person.

    ``times`` should end at least a horizon before the last event. In order of time, then of leaf.
    """
    seen: dict[str, list[Millis]] = {}
    done: dict[str, list[Millis]] = {}
    known = list(events)
    person: dict[str, str] = {}
    who = members or (lambda leaf, time: (leaf,))

    def person_of(leaf: str) -> str:
        found = person.get(leaf)
        if found is None:
            found = person[leaf] = who(leaf, FOREVER)[0]
        return found

    for event in known:
        if event.leaf:
            seen.setdefault(event.leaf, []).append(event.time)
            if not outcome or event.name == outcome:
                done.setdefault(person_of(event.leaf), []).append(event.time)
    asks: list[tuple[str, Millis]] = []
    for time in sorted(times):
        since = None if active is None else time - active
        there = {
            who(leaf, time)[0]
            for leaf in seen
            if any(t <= time and (since is None or t > since) for t in seen[leaf])
        }
        asks += [(leaf, time) for leaf in sorted(there)]
    followed = [any(time < t <= time + horizon for t in done.get(person_of(leaf), ())) for leaf, time in asks]
    return Examples(
        values_as_of(schema, known, asks, members=members),
        [did is not absent for did in followed],
        [leaf for leaf, _ in asks],
        [time for _, time in asks],
    )
