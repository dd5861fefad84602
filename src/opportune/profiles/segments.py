"""segments.yaml: who belongs to which audience, as conditions on what is known about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from opportune.config.definitions import parse
from opportune.errors import InvalidDefinition
from opportune.identity.groups import ACCOUNT, HOUSEHOLD
from opportune.profiles.likely import CERTAIN, Dial
from opportune.profiles.lookup import value_at
from opportune.profiles.paths import value_test

MAX_SEGMENTS = 500
GROUPS = (ACCOUNT, HOUSEHOLD)
PEOPLE = "people"
"""How many people a group has, beside its features."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``when``: conditions that must all hold, ``{feature: value}`` or ``{feature: {op: value}}`` with the
    operators of features' ``where``. A feature with several values is looked into with a dot:
    ``intents.price``, ``affinity_category.Mugs``; of a list, ``contains`` finds an entry. ``account.`` and
    ``household.`` before a feature ask for that of the group, the sum of its people, and
    ``household.people`` for how many there are. ``likely`` is the least probability at which what is known of
    somebody who is probably the same person counts too; 1 for certain links only."""

    name: str
    when: Mapping[str, Any]
    description: str = ""
    likely: Annotated[float, msgspec.Meta(gt=0.5, le=1)] = CERTAIN


class SegmentSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    segments: tuple[Segment, ...] = ()


class Segments:
    """Compiled segments. ``of`` costs about 3 us for each condition."""

    def __init__(self, definition: SegmentSet | None = None) -> None:
        self.definition = definition or SegmentSet()
        self._tests = [
            (s.name, s.likely, [_compiled(path, expected, s.name) for path, expected in s.when.items()])
            for s in self.definition.segments
        ]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self._tests]

    def of(self, features: Mapping[str, Any], dial: Dial | None = None) -> list[str]:
        """The segments of a person with these features, in the order of the file. ``dial`` has the features
        for segments that are content with probable links."""
        found = []
        for name, likely, tests in self._tests:
            seen = features
            if likely < CERTAIN and dial is not None:
                seen = dial(likely) or features
            if all(test(seen) for test in tests):
                found.append(name)
        return found


def parse_segments(
    text: str, *, name: str = "segments.yaml", known: frozenset[str] | None = None
) -> Segments:
    """Read and check segments.yaml; ``known`` are the names of the values that features give. Raises
    :class:`InvalidDefinition` with the path and a remedy."""
    given = parse(text, SegmentSet, name=name)
    names: set[str] = set()
    for i, segment in enumerate(given.segments):
        where = f"{name} $.segments[{i}]"
        if not _NAME.match(segment.name) or segment.name in names:
            raise InvalidDefinition(
                "not a name, or there twice",
                seen=segment.name,
                where=f"{where}.name",
                remedy="use a-z, 0-9 and _, a letter first, each name once",
            )
        names.add(segment.name)
        if not segment.when:
            raise InvalidDefinition(
                "a segment needs a condition",
                where=f"{where}.when",
                remedy="for example orders_all: {gte: 3}",
            )
        for path, expected in segment.when.items():
            _compiled(path, expected, f"{where}.when")
            name, _, of_group = path.partition(".")
            if name in GROUPS and of_group:
                name = of_group.partition(".")[0]
                if name == PEOPLE:
                    continue
            if known is not None and name not in known:
                raise InvalidDefinition(
                    "no such feature",
                    seen=path,
                    where=f"{where}.when",
                    remedy="name a value that features.yaml gives, with its window: orders_30d",
                )
    if len(given.segments) > MAX_SEGMENTS:
        raise InvalidDefinition(
            f"more than {MAX_SEGMENTS} segments",
            seen=len(given.segments),
            where=f"{name} $.segments",
            remedy="drop the ones that nothing uses",
        )
    return Segments(given)


def _compiled(path: str, expected: Any, where: str) -> Callable[[Mapping[str, Any]], bool]:
    operators = expected if isinstance(expected, Mapping) else {"eq": expected}
    tests = [value_test(operator, operand, f"{where}.{path}") for operator, operand in operators.items()]

    def holds(features: Mapping[str, Any]) -> bool:
        value = value_at(features, path)
        if isinstance(value, list | tuple):
            value = "\n".join(map(str, value))
        return all(test(value) for test in tests)

    return holds
