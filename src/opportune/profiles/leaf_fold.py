"""A profile schema as a plain :class:`~opportune.profiles.fold.Fold`, for whoever counts no offsets."""

from __future__ import annotations

from typing import Any

from opportune.clock import Millis
from opportune.events.event import Event
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema


class LeafFold:
    """``offset`` counts nothing here: the caller sees to it that every event is folded once."""

    def __init__(self, schema: ProfileSchema, item_id: str = "") -> None:
        self.schema = schema
        self._item_id = item_id

    def zero(self) -> Leaf:
        return self.schema.zero()

    def fold(self, state: Leaf, event: Event) -> Leaf:
        self.schema.fold(state, event, 0, event.about(self._item_id) if self._item_id else None)
        return state

    def combine(self, a: Leaf, b: Leaf) -> Leaf:
        return self.schema.combine([a, b])

    def read(self, state: Leaf, now: Millis) -> dict[str, Any]:
        return self.schema.read(state, now)
