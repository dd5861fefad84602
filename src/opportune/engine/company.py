"""What somebody's account and household know: the sum of their people, as a decision may use it.

``account.orders_30d`` and ``household.people`` are values like any other of a person, wherever a condition is
asked: segments, audiences, the arms a bandit may show. They are made when they are asked, and only where a
definition names one. Members who do not allow personalization are not in the sums.

The arms of an experiment on accounts or households stand for the group: whoever was ever a member carries
what they saw, and the earliest of it stands for all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from opportune.clock import SECOND, Millis
from opportune.engine.groups import groups_of
from opportune.events.event import Identifier
from opportune.profiles.consent.policy import Use
from opportune.profiles.exposed import Exposed, merge_exposed
from opportune.profiles.person import Person
from opportune.profiles.segments import GROUPS, PEOPLE

if TYPE_CHECKING:
    from opportune.engine.queries import Queries
    from opportune.engine.workspace import Workspace

KEPT = 1_000
"""Groups remembered, the least recently asked go."""
LARGE = 32
LAG: Millis = SECOND
_PERSONALIZE = int(Use.PERSONALIZE)


class _Sum(msgspec.Struct):
    """A group as its leaves were when they had reached ``offsets``. ``names`` are its own, then those of
    everybody who was ever a member, ``of`` has the person of each; ``events`` counts what was folded."""

    names: tuple[Identifier, ...]
    members: set[Identifier]
    of: dict[Identifier, tuple[Identifier, ...]]
    offsets: list[int]
    events: list[int]
    allowed: dict[tuple[Identifier, ...], bool]
    groups: dict[tuple[Identifier, ...], tuple[Identifier, ...]]
    made: Millis
    person: Person | None
    people: int
    exposed: Exposed


class Company:
    """:meth:`features` and :meth:`exposed` for :class:`Person`. O(leaves of everybody ever in the group):
    0.3 us each as long as only decisions are made, else 20 us each to combine them. So the sums of a group of
    more than :data:`LARGE` leaves may lag by a second; who belongs to it and who allows it never does."""

    def __init__(self, engine: Queries) -> None:
        self._engine = engine
        self._kept: OrderedDict[Identifier, _Sum] = OrderedDict()

    def features(self, groups: Sequence[Identifier], now: Millis) -> dict[str, Any]:
        """``account`` and ``household`` -> the features of the one that was seen last."""
        found: dict[str, Any] = {}
        for group in groups:
            kind = group.partition(":")[0]
            if kind not in found:
                one = self._sum(group)
                if one.person is not None:
                    found[kind] = {**one.person.features(now), PEOPLE: one.people}
        return found

    def exposed(
        self, groups: Sequence[Identifier], own: Mapping[str, Mapping[str, Millis]]
    ) -> Mapping[str, Mapping[str, Millis]]:
        """Experiment -> arm -> when first: somebody's own, and those of their groups in the place of what
        they themselves saw as a member."""
        found: dict[str, Mapping[str, Millis]] = {}
        for group in groups:
            end = "|" + group.partition(":")[2]
            found |= {key: arms for key, arms in self._sum(group).exposed.items() if key.endswith(end)}
        return {**own, **found} if found else own

    def _sum(self, group: Identifier) -> _Sum:
        kept = self._kept.get(group)
        if kept is None or not self._stands(kept):
            kept = self._kept[group] = self._made(group)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return kept

    def _stands(self, kept: _Sum) -> bool:
        """Whether the sum is still right; takes in the arms that members have seen since."""
        leaf = self._engine.state.leaf
        offsets = [leaf(name).offset for name in kept.names]
        if offsets == kept.offsets:
            return True
        members = self._engine.state.components.members
        may_lag = len(offsets) > LARGE and 0 <= self._engine.clock() - kept.made < LAG
        for at, (name, before, now) in enumerate(zip(kept.names, kept.offsets, offsets, strict=True)):
            if before == now:
                continue
            changed = leaf(name)
            if at == 0:
                if changed.members.keys() != kept.members:
                    return False
                kept.offsets[at] = now
                continue
            person = kept.of[name]
            if members(name) != person or self._allows(person) != kept.allowed[person]:
                return False
            if changed.events == kept.events[at]:
                kept.offsets[at] = now
            elif not may_lag or groups_of([leaf(one) for one in person]) != kept.groups[person]:
                return False
            kept.exposed = merge_exposed(kept.exposed, changed.exposed)
        return True

    def _allows(self, person: tuple[Identifier, ...]) -> bool:
        return bool(int(self._engine.consent.standing(person).allowed) & _PERSONALIZE)

    def _made(self, group: Identifier) -> _Sum:
        state = self._engine.state
        leaf, members = state.leaf, state.components.members
        ever = dict.fromkeys(members(name) for name in sorted(leaf(group).members))
        exposed: Exposed = {}
        counted: list[Identifier] = []
        allowed: dict[tuple[Identifier, ...], bool] = {}
        groups: dict[tuple[Identifier, ...], tuple[Identifier, ...]] = {}
        people = 0
        for person in ever:
            leaves = [leaf(name) for name in person]
            for one in leaves:
                if one.exposed:
                    exposed = merge_exposed(exposed, one.exposed)
            groups[person], allowed[person] = groups_of(leaves), self._allows(person)
            if group in groups[person]:
                people += 1
                if allowed[person]:
                    counted += person
        of = {name: person for person in ever for name in person}
        names = (group, *of)
        held = [leaf(name) for name in names]
        return _Sum(
            names,
            set(leaf(group).members),
            of,
            [one.offset for one in held],
            [one.events for one in held],
            allowed,
            groups,
            self._engine.clock(),
            Person(state.person, counted, [leaf(name) for name in counted]) if counted else None,
            people,
            exposed,
        )


def company_of(engine: Queries) -> Company | None:
    """None where no definition names a group: then nothing is looked up and nothing costs."""
    return Company(engine) if names_groups(engine.workspace) else None


def names_groups(workspace: Workspace) -> bool:
    """Whether a segment, an audience or an arm asks about accounts or households, or an experiment draws
    them."""
    paths = [path for segment in workspace.segments.definition.segments for path in segment.when]
    for experiment in workspace.experiments.with_holdout():
        if experiment.unit in GROUPS:
            return True
        paths += experiment.audience
        paths += [path for arm in experiment.variants() for path in arm.only]
        paths += experiment.bandit.features if experiment.bandit is not None else ()
    return any(path.partition(".")[0] in GROUPS for path in paths)
