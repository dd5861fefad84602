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
from opportune.decide.variants import NO_RANKER
from opportune.decide.world import Ranker, SessionView, Touch, World
from opportune.profiles.history import HISTORY
from opportune.profiles.likely import Likely

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
    groups: tuple[str, ...] = ()
    exposed: dict[str, dict[str, Millis]] = {}
    traits: dict[str, Any] = {}

    def session(self, now: Millis, session_id: str) -> Sequence[Touch]:
        return self.touches

    def features(self, now: Millis) -> dict[str, Any]:
        return self.kept_features

    def history(self, before: Millis) -> dict[str, list[Any]]:
        kept: dict[str, list[Any]] = self.kept_features.get(HISTORY, {})
        return kept

    def likely(self, least: float) -> Likely | None:
        """What was known of somebody else is in no record."""
        return None


def _without_person(world: World, record: DecisionRecord) -> tuple[Placements, Ranker | None]:
    """The placement as its arms had changed it, without the filters that look at the person: the record has
    what they removed. With it the ranker that the arms leave."""
    placement, ranker = world.placements.get(record.placement), world.ranker
    if record.assignments and world.variants is not None:
        variant = world.variants.variant(placement, record.assignments)
        placement = variant.placement
        ranker = None if variant.ranker == NO_RANKER else world.rankers.get(variant.ranker, ranker)
    filters = placement.filters
    impersonal = msgspec.structs.replace(
        filters,
        repeat="never_current" if filters.repeat == "once" else filters.repeat,
        exclude_in_session=(),
    )
    only = Placements(
        [msgspec.structs.replace(placement, filters=impersonal, explore=None)],
        version=world.placements.version,
    )
    return only, ranker


def replay(world: World, record: DecisionRecord) -> list[str]:
    """The item ids that the same inputs lead to now, before any exploration; those of the record when
    models, placements and catalogue are as they were (its ``natural`` ones where it explored). Exact for
    requests of up to 200 candidates and 200 exclusions."""
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
    placements, ranker = _without_person(world, record)
    replayed = msgspec.structs.replace(world, placements=placements, ranker=ranker, variants=None, watch=None)
    [(decision, _)] = decide(replayed, request, person, SessionView(record.session_id), record.time)
    return [item.item_id for item in decision.items]
