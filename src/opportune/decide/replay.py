"""Make a recorded decision again, from its record and the world it is made in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.decide.pipeline import decide
from opportune.decide.placement import Placements
from opportune.decide.policy import PERSONAL
from opportune.decide.request import DecideRequest, DecisionRecord
from opportune.decide.world import SessionView, Touch, World

_WORDS = {0: "view", 1: "cart", 2: "buy"}


class _Touch(msgspec.Struct, frozen=True):
    item_id: str
    kind: str
    time: Millis


class _Recorded(msgspec.Struct, frozen=True):
    """The person as the record has them: the session, and what policy hid on their account."""

    identifiers: tuple[str, ...]
    touches: tuple[_Touch, ...]
    kept_features: dict[str, Any]
    bought: dict[str, Millis] = {}
    dismissed: tuple[str, ...] = ()

    def session(self, now: Millis, session_id: str) -> Sequence[Touch]:
        return self.touches

    def features(self, now: Millis) -> dict[str, Any]:
        return self.kept_features


def _without_person(world: World, name: str) -> Placements:
    """The placement without the filters that look at the person: the record has what they removed."""
    placement = world.placements.get(name)
    filters = placement.filters
    impersonal = msgspec.structs.replace(
        filters,
        repeat="never_current" if filters.repeat == "once" else filters.repeat,
        exclude_in_session=(),
    )
    return Placements(
        [msgspec.structs.replace(placement, filters=impersonal)], version=world.placements.version
    )


def replay(world: World, record: DecisionRecord) -> list[str]:
    """The item ids that the same inputs lead to now; those of the record when models, placements and
    catalogue are as they were. Exact for requests of up to 200 candidates and 200 exclusions."""
    inputs = record.inputs
    touches = tuple(
        _Touch(item_id, _WORDS[kind], record.time - age_ms)
        for item_id, kind, age_ms in zip(
            inputs.get("session", ()), inputs.get("kinds", b""), inputs.get("ages_ms", ()), strict=True
        )
    )
    hidden = inputs.get("hidden", {})
    exclude = [*inputs.get("exclude", ()), *(i for why in sorted(PERSONAL) for i in hidden.get(why, ()))]
    request = DecideRequest(
        placement=record.placement,
        context=record.context,
        candidates=inputs.get("candidates"),
        exclude=exclude,
        count=inputs.get("count"),
    )
    person = _Recorded(
        identifiers=record.identifiers,
        touches=touches,
        kept_features=record.features,
    )
    replayed = msgspec.structs.replace(world, placements=_without_person(world, record.placement))
    [(decision, _)] = decide(replayed, request, person, SessionView(record.session_id), record.time)
    return [item.item_id for item in decision.items]
