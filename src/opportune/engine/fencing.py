"""Every definition of a workspace held against what is declared sensitive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from opportune.decide.placement import Placement, Placements
from opportune.experiments.definitions import Experiments
from opportune.privacy.sensitive import Fence, Sensitive
from opportune.profiles.definitions import Feature, FeatureSet
from opportune.profiles.segments import Segments

_OF_ITEMS = ("category", "brand")
"""Paths of a line that are attributes of the item."""


def fence_of(declared: tuple[Sensitive, ...], features: FeatureSet) -> Fence:
    """The fence that knows what every feature is made of. Raises :class:`InvalidDefinition` for a feature
    that uses what it may not."""
    plain = Fence(declared)
    made: dict[str, list[str]] = {}
    for feature in features.features:
        for path in _paths(feature):
            plain.check(path, "features", f"features.yaml {feature.name}")
        for output in feature.outputs:
            made.setdefault(output, []).extend(_paths(feature))
    return Fence(declared, made)


def check_fence(fence: Fence, segments: Segments, experiments: Experiments, placements: Placements) -> None:
    """Raises :class:`InvalidDefinition` for the first definition that uses what it may not."""
    for segment in segments.definition.segments:
        for path in segment.when:
            fence.check(path, "segments", f"segments.yaml {segment.name} $.when")
    made_of = {f"segment.{segment.name}": tuple(segment.when) for segment in segments.definition.segments}
    if experiments.holdout is not None:
        for path in _reached(experiments.holdout.audience, made_of):
            fence.check(path, "experiments", "experiments.yaml $.holdout.audience")
    for experiment in experiments:
        where = f"experiments.yaml {experiment.id}"
        for path in _reached(experiment.audience, made_of):
            fence.check(path, "experiments", f"{where} $.audience")
        for path in () if experiment.bandit is None else experiment.bandit.features:
            fence.check(path, "experiments", f"{where} $.bandit.features")
        for arm in experiment.arms:
            for path in arm.only:
                fence.check(path, "experiments", f"{where} {arm.id} $.only")
            for rule in arm.change.rules:
                for name in rule.get("where", ()):
                    fence.check(f"item.{name}", "placements", f"{where} {arm.id} $.change.rules")
    for placement in placements:
        where = f"placements.yaml {placement.name}"
        for path, at in _used(placement):
            fence.check(path, "placements", f"{where} {at}")
        for code, text in placement.reasons.items():
            if "{category}" in text:
                fence.check("item.category", "reasons", f"{where} $.reasons.{code}")


def _reached(audience: Iterable[str], made_of: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """What an audience asks, also through the segments that it names."""
    for path in audience:
        yield from made_of.get(path, (path,))


def quiet_placements(fence: Fence, placements: Placements) -> Placements:
    """The placements with reasons that do not name what is sensitive."""
    if fence.against("item.category", "reasons") is None:
        return placements
    quiet = {"popular_in_category": "others like it too"}
    return Placements(
        [msgspec.structs.replace(p, reasons={**quiet, **p.reasons}) for p in placements],
        version=placements.version,
    )


def _paths(feature: Feature) -> list[str]:
    found = [feature.value, *feature.where] if feature.value else [*feature.where]
    return [f"item.{path}" if path in _OF_ITEMS else path for path in found]


def _used(placement: Placement) -> Iterator[tuple[str, str]]:
    """What a placement looks at, and where it says so."""
    for i, rule in enumerate(placement.rules):
        for name in rule.where:
            yield f"item.{name}", f"$.rules[{i}].where"
    filters = placement.filters
    if filters.same_category or filters.allow.categories or filters.deny.categories:
        yield "item.category", "$.filters"
    if filters.allow.brands or filters.deny.brands:
        yield "item.brand", "$.filters"
    if placement.diversity is not None and placement.diversity.max_per is not None:
        yield f"item.{placement.diversity.by}", "$.diversity.by"
    for name in placement.features:
        yield name, "$.features"
    for i, source in enumerate(placement.sources):
        if source.source == "attributes":
            for name in _OF_ITEMS:
                yield f"item.{name}", f"$.sources[{i}]"
