"""What people were like at a time, and whether they did it soon after: rows for propensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events.event import Event
from opportune.profiles.pointintime import values_as_of
from opportune.profiles.schema import ProfileSchema


class Examples(msgspec.Struct, frozen=True):
    """Parallel: features as they were, whether the outcome followed, whose and when."""

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
) -> Examples:
    """For each of ``times``, everybody who had been seen by then (within ``active`` milliseconds, if given):
    their features as of then, and whether an event named ``outcome`` followed within ``horizon``; ``absent``
    asks whether none did (to churn); the empty name stands for any event. Features never contain what came
    after: the same fold reads them.

    ``times`` should end at least a horizon before the last event. In order of time, then of leaf.
    """
    seen: dict[str, list[Millis]] = {}
    done: dict[str, list[Millis]] = {}
    known = list(events)
    for event in known:
        if event.leaf:
            seen.setdefault(event.leaf, []).append(event.time)
            if not outcome or event.name == outcome:
                done.setdefault(event.leaf, []).append(event.time)
    asks: list[tuple[str, Millis]] = []
    for time in sorted(times):
        since = None if active is None else time - active
        asks += [
            (leaf, time)
            for leaf in sorted(seen)
            if any(t <= time and (since is None or t > since) for t in seen[leaf])
        ]
    followed = [any(time < t <= time + horizon for t in done.get(leaf, ())) for leaf, time in asks]
    return Examples(
        values_as_of(schema, known, asks),
        [did is not absent for did in followed],
        [leaf for leaf, _ in asks],
        [time for _, time in asks],
    )
