"""Training values as they were: what serving would have read at a time, having seen exactly what came before.

The same schema folds the same events in event-time order and reads at each asked time, so a feature has one
definition for serving and for training, and no value ever contains the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from opportune.clock import Millis
from opportune.events.event import Event
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema

Ask = tuple[str, Millis]
"""An entity key (``user_id:u1``, ``item:p1``, ``session:s1``) and a time."""

T = TypeVar("T")
ITEM = "item:"
SESSION = "session:"


def values_as_of(
    schema: ProfileSchema,
    events: Iterable[Event],
    asks: Sequence[Ask],
    *,
    members: Callable[[str, Millis], Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """One row of features per ask, in the order asked, from all events with ``time <= as-of``; see
    :func:`read_as_of`."""
    read = schema.read
    wanted = [(key, time, partial(_at, read, time)) for key, time in asks]
    return read_as_of(schema, events, wanted, members=members)


def read_as_of(
    schema: ProfileSchema,
    events: Iterable[Event],
    asks: Sequence[tuple[str, Millis, Callable[[Leaf], T]]],
    *,
    members: Callable[[str, Millis], Sequence[str]] | None = None,
) -> list[T]:
    """What each ask's own reading makes of the leaf as it was then, in the order asked.

    ``events`` may come in any order and only those of asked entities are held. ``members`` gives the leaves
    that made up a person at a time (their component then); by default a person is the leaf of the key. Cost:
    one sort of the events that matter, one fold each, one read per ask.
    """
    groups = [(members(key, time) if members else (key,)) for key, time, _ in asks]
    wanted = {key for group in groups for key in group}
    found = [(event, keys) for event in events if (keys := wanted.intersection(keys_of(schema, event)))]
    found.sort(key=lambda pair: pair[0].time)
    leaves: dict[str, Leaf] = {}
    rows: dict[int, T] = {}
    position = 0
    for index in sorted(range(len(asks)), key=lambda i: asks[i][1]):
        _, as_of, read = asks[index]
        while position < len(found) and found[position][0].time <= as_of:
            event, keys = found[position]
            for key in keys:
                leaf = leaves.get(key)
                if leaf is None:
                    leaf = leaves[key] = schema.zero()
                schema.fold(
                    leaf,
                    event,
                    position,
                    event.about(key.removeprefix(ITEM)) if schema.entity == "item" else None,
                )
            position += 1
        present = [leaves[key] for key in groups[index] if key in leaves]
        rows[index] = read(present[0] if len(present) == 1 else schema.combine(present))
    return [rows[index] for index in range(len(asks))]


def _at(read: Callable[[Leaf, Millis], T], as_of: Millis, leaf: Leaf) -> T:
    return read(leaf, as_of)


def keys_of(schema: ProfileSchema, event: Event) -> list[str]:
    """The keys of the leaves of this schema's entity that an event is folded into."""
    if schema.entity == "item":
        return [ITEM + item_id for item_id in dict.fromkeys(line.item_id for line in event.lines)]
    if schema.entity == "session":
        return [SESSION + event.session_id] if event.session_id else []
    return [event.identifiers[0]] if event.identifiers else []
