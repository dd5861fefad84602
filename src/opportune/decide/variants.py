"""Arms applied: the placement as an experiment's arm, or the holdout, changes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.decide.placement import Placement, Placements, Rule, check_sources
from opportune.errors import InvalidDefinition
from opportune.experiments.assignment import Assigned, Assigner, Assignment, Choosers, Subject
from opportune.experiments.definitions import NO_CHANGE, Change, Experiments
from opportune.profiles.likely import Dial
from opportune.profiles.segments import Segments

NO_RANKER = "none"
_COMBINATIONS = 1_000


class Variant(msgspec.Struct, frozen=True):
    """What a slot is filled by: a placement, and the name of its ranker (empty: the one that is live)."""

    placement: Placement
    ranker: str = ""


def changed(placement: Placement, change: Change, where: str) -> Placement:
    """The placement with the change applied. Raises :class:`InvalidDefinition` naming ``where``."""
    if change == NO_CHANGE:
        return placement
    raw: dict[str, Any] = msgspec.to_builtins(placement)
    for field in ("sources", "diversity", "fallbacks", "count", "pool", "enabled", "objective", "likely"):
        value = getattr(change, field)
        if value is not None:
            raw[field] = value
    for field in ("filters", "content", "reasons"):
        raw[field] = {**raw[field], **getattr(change, field)}
    raw["rules"] = [*change.rules, *raw["rules"]]
    try:
        return msgspec.convert(raw, Placement)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidDefinition(
            f"the change does not fit the placement {placement.name} ({error})",
            where=where,
            remedy="a change takes the same values as placements.yaml",
        ) from error


class Variants:
    """Every experiment with the placements it changes, checked once. Raises :class:`InvalidDefinition`."""

    def __init__(
        self,
        experiments: Experiments,
        placements: Placements,
        sources: Collection[str],
        stopped: Collection[str] = (),
        choosers: Choosers | None = None,
    ) -> None:
        self.assigner = Assigner(experiments, stopped, choosers)
        self._changes: dict[tuple[str, str], Change] = {}
        self._ready: dict[tuple[str, tuple[tuple[str, str], ...]], Variant] = {}
        for i, experiment in enumerate(experiments.with_holdout()):
            at = f"experiments.yaml $.experiments[{i}]"
            for name in experiment.placements:
                if name not in placements.by_name:
                    raise InvalidDefinition(
                        "no such placement",
                        seen=name,
                        where=f"{at}.placements",
                        remedy=f"known are: {', '.join(sorted(placements.by_name))}",
                    )
            for arm in experiment.variants():
                if arm.change == NO_CHANGE:
                    continue
                self._changes[experiment.id, arm.id] = arm.change
                for name in experiment.placements or sorted(placements.by_name):
                    where = f"{at} arm {arm.id}"
                    check_sources(changed(placements.get(name), arm.change, where), frozenset(sources), where)

    def assign(self, placement: Placement, subject: Subject, now: Millis) -> tuple[Variant, Assigned]:
        """What the slot is filled by for this subject, and the arms that say so."""
        assigned = self.assigner.assign(placement.name, subject, now)
        return self.variant(placement, assigned.assignments), assigned

    def ranks(self, placement: str) -> bool:
        """Whether some experiment at the placement ranks items, and so asks what may be shown."""
        return self.assigner.ranks(placement)

    def variant(self, placement: Placement, assignments: Sequence[Assignment]) -> Variant:
        """The placement with every arm's change applied, in order; arms that no longer exist change nothing.
        Made once per combination. The items of a ranking are pinned to the top."""
        found = self._changed(placement, assignments)
        pinned = self.assigner.pinned(assignments)
        if not pinned:
            return found
        pins = tuple([Rule(pin=item, rank=rank) for rank, item in enumerate(pinned, start=1)])
        own = [r for r in found.placement.rules if not (r.pin and r.rank <= len(pins))]
        made = msgspec.structs.replace(found.placement, rules=(*pins, *own))
        return Variant(made, found.ranker)

    def _changed(self, placement: Placement, assignments: Sequence[Assignment]) -> Variant:
        arms = tuple([pair for a in assignments if (pair := (a.experiment, a.arm)) in self._changes])
        if not arms:
            return Variant(placement)
        key = (placement.name, arms)
        found = self._ready.get(key)
        if found is None:
            ranker = ""
            made = placement
            for pair in arms:
                change = self._changes[pair]
                made = changed(made, change, "/".join(pair))
                ranker = change.ranker or ranker
            found = Variant(made, ranker)
            if len(self._ready) < _COMBINATIONS:
                self._ready[key] = found
        return found


def attributes(
    features: Mapping[str, Any],
    traits: Mapping[str, Any],
    context: Mapping[str, Any],
    segments: Segments | None = None,
    dial: Dial | None = None,
) -> dict[str, Any]:
    """What audiences are asked about: features by name, ``traits.<name>``, ``context.<name>``, and true as
    ``segment.<name>`` for what somebody is in."""
    return {
        **features,
        **{f"segment.{name}": True for name in (segments.of(features, dial) if segments else ())},
        **{f"traits.{name}": value for name, value in traits.items()},
        **{f"context.{name}": value for name, value in context.items()},
    }
