"""What one event name means to a schema: compiled once, so that an event touches only what concerns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opportune.clock import Millis
from opportune.events.event import Event, Line
from opportune.identity.links import LINK_EVENTS
from opportune.profiles.accumulators import Accumulator
from opportune.profiles.definitions import Feature
from opportune.profiles.leaf import DISMISSALS, SEARCHES, TOUCHES
from opportune.profiles.paths import Condition, condition, getter, is_line_path

PER_EVENT, PER_LINE, ANY_LINE = range(3)
"""Whether an operation takes one value per event, one per line, or one per event of which any line holds."""


class Operation(NamedTuple):
    """Put ``get(...)`` into the accumulator at ``slot`` where ``holds``."""

    slot: int
    add: Callable[[Any, Any, Millis, int], Any]
    get: Callable[[Any], Any]
    mode: int
    holds: Condition | None
    weight: int


class Plan:
    """The work that an event of one name causes. ``row_counts`` and ``life_counts`` are slots that go up by
    one: most features of most events, and much cheaper than an operation."""

    __slots__ = (
        "dismisses", "identity_only", "life_counts", "life_ops", "row_counts", "row_ops", "searches", "touch",
        "windowed",
    )  # fmt: skip

    def __init__(self, name: str, slots: Sequence[Slot]) -> None:
        self.identity_only = name in LINK_EVENTS
        self.touch = TOUCHES.get(name, "")
        self.dismisses = name in DISMISSALS
        self.searches = name in SEARCHES
        concerned = [s for s in slots if not s.events or name in s.events]
        counting = [s for s in concerned if s.feature.fold == "count" and not s.feature.where]
        rest = [s for s in concerned if s not in counting]
        self.row_counts = tuple(s.index for s in counting if s.windowed)
        self.life_counts = tuple(s.index for s in counting if not s.windowed)
        self.row_ops = tuple(s.operation(name) for s in rest if s.windowed)
        self.life_ops = tuple(s.operation(name) for s in rest if not s.windowed)
        self.windowed = bool(self.row_counts or self.row_ops)


class Slot:
    """Where a feature keeps its state: ``index`` into the rows if ``windowed``, else into ``life``."""

    __slots__ = ("accumulator", "events", "feature", "index", "windowed")

    def __init__(self, feature: Feature, index: int) -> None:
        self.feature = feature
        self.index = index
        self.windowed = feature.windowed
        self.events = frozenset(feature.events)
        self.accumulator: Accumulator = feature.accumulator()

    def operation(self, event_name: str) -> Operation:
        feature = self.feature
        holds, about_lines = condition(feature.where, "$.where")
        if feature.value:
            get = getter(feature.value, "$.value")
            of_line = is_line_path(feature.value)
            mode = PER_LINE if of_line else ANY_LINE if about_lines else PER_EVENT
        else:
            get, mode = _one, PER_LINE if about_lines else PER_EVENT
        return Operation(self.index, self.accumulator.add, get, mode, holds, feature.weight(event_name))


def apply(
    state: list[Any], operations: Sequence[Operation], event: Event, lines: Sequence[Line], time: Millis
) -> None:
    """Fold the values of one event into a list of accumulators."""
    for slot, add, get, mode, holds, weight in operations:
        if mode == PER_LINE:
            for line in lines:
                if holds is None or holds(event, line):
                    value = get(line)
                    if value is not None:
                        state[slot] = add(state[slot], value, time, weight)
            continue
        if holds is not None:
            about = lines if mode == ANY_LINE else (None,)
            if not any(holds(event, line) for line in about):
                continue
        value = get(event)
        if value is not None:
            state[slot] = add(state[slot], value, time, weight)


def _one(_: Any) -> int:
    return 1
