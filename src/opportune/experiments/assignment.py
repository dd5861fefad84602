"""Who gets which arm: a salted hash on a stable unit, sticky from the first exposure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from opportune.clock import Millis
from opportune.experiments.audience import Attributes, audience
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.buckets import choose, ranges
from opportune.experiments.definitions import (
    HELD,
    HOLDOUT,
    Change,
    Experiment,
    Experiments,
    holdout_experiment,
    span_ms,
)
from opportune.experiments.hashing import hasher, layer_hasher
from opportune.profiles.exposed import stands
from opportune.profiles.lookup import value_at

Why = Literal["assigned", "sticky", "shipped", "removed", "bandit", "apprentice", "baseline"]
"""``assigned`` by the hash; ``sticky`` because an exposure stands; ``shipped`` to everybody; ``removed``: the
arm that stands is no longer in the definition, so the unit sees the placement as it is; ``bandit`` by what it
has learnt: the unit keeps its draw, and so its arm while the shares stand; ``apprentice``: the first arm,
while a bandit learns from it; ``baseline``: the first arm again, because the bandit earned less."""


MAX_PLACES = 20

Choosers = Callable[[str, Millis], Chooser]
"""(experiment, now) -> what its bandit draws from."""


class Assignment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One experiment's word on one unit. ``key`` is what the exposure is kept under, empty when it is not;
    ``propensity`` is the chance that this unit had of this arm among those in the experiment. ``x`` is what a
    contextual bandit knew, ``would`` the probability that an apprentice would have given to the arm. Arms of
    a ranking are one assignment each, from the top; each one's propensity is given those above it."""

    experiment: str
    arm: str
    unit: str
    propensity: float = 1.0
    why: Why = "assigned"
    key: str = ""
    x: tuple[float, ...] = ()
    would: float = 0.0


class Assigned(msgspec.Struct, frozen=True):
    """All experiments' words on one unit at one placement; ``held`` is the universal holdout."""

    assignments: tuple[Assignment, ...] = ()
    held: bool = False


NOT_ASSIGNED = Assigned()


class Subject(msgspec.Struct):
    """Who asks. ``identifiers`` are strongest first, ``exposed`` is what stands, ``attributes`` is called
    only when an audience has conditions. ``may_show`` says which of some items may be shown to them here,
    where a bandit ranks items (all of them without it); ``places`` is how many are shown."""

    identifiers: Sequence[str]
    session_id: str
    exposed: Mapping[str, Mapping[str, Millis]]
    attributes: Callable[[], Attributes]
    context: Mapping[str, Any] = {}
    may_show: Callable[[Sequence[str]], Collection[str]] | None = None
    places: int = MAX_PLACES


class _Compiled:
    """One experiment, ready for the hot path."""

    __slots__ = (
        "_ramp", "arms", "audience", "changes", "chooser", "coverage", "definition", "draw", "end", "id",
        "items", "layer_draw", "only", "period", "ranges", "show", "slots", "start", "unit", "weights",
    )  # fmt: skip

    def __init__(
        self, definition: Experiment, layer_hash: Any = None, choosers: Choosers | None = None
    ) -> None:
        variants = definition.variants()
        self.chooser = choosers if definition.bandit is not None else None
        self.definition = definition
        self.show = definition.bandit.show if definition.bandit is not None else 0
        self.items = {arm.id: str(arm.value) for arm in variants} if self.show else {}
        self.only = {
            arm.id: holds
            for arm in variants
            if (holds := audience(arm.only, f"{definition.id} {arm.id}")) is not None
        }
        self.id = definition.id
        self.unit = definition.unit
        self.arms = [arm.id for arm in variants]
        self.weights = [arm.weight or 0.0 for arm in variants]
        self.changes: dict[str, Change] = {arm.id: arm.change for arm in variants}
        self.coverage = definition.coverage
        self.ranges = ranges(self.weights, definition.coverage)
        self.draw = hasher(definition.hash, definition.salt or definition.id)
        self.layer_draw = (
            layer_hasher(layer_hash or definition.hash, definition.layer) if definition.layer else None
        )
        self.slots = definition.slots
        self.audience = audience(definition.audience, definition.id)
        self.start, self.end = definition.start_ms, definition.end_ms
        self.period = span_ms(definition.switchback.period) if definition.switchback else 0
        self._ramp: list[tuple[Millis, list[tuple[float, float]]]] = []
        if definition.ramp is not None:
            at = self.start or 0
            for step in definition.ramp.steps:
                self._ramp.append((at, ranges(self.weights, step.coverage)))
                at += span_ms(step.hold)

    def _inputs(self, subject: Subject) -> tuple[float, ...]:
        """The numbers that the bandit's features name."""
        allocation = self.definition.bandit
        if allocation is None or not allocation.features:
            return ()
        known = subject.attributes()
        values = [known.get(name, value_at(known, name)) for name in allocation.features]
        return tuple([float(v) if isinstance(v, int | float) and math.isfinite(v) else 0.0 for v in values])

    def ranges_at(self, now: Millis) -> list[tuple[float, float]]:
        found = self.ranges
        for at, those in self._ramp:
            if now < at:
                break
            found = those
        return found

    def value(self, subject: Subject, now: Millis) -> str:
        """What is hashed; empty when the unit is not known."""
        unit = self.unit
        if unit == "person":
            identifiers = subject.identifiers
            return identifiers[0].partition(":")[2] if identifiers else ""
        if unit == "session":
            return subject.session_id
        if unit == "time":
            by = self.definition.switchback.by if self.definition.switchback else ""
            period = now // self.period
            return f"{period}|{subject.context.get(by, '')}" if by else str(period)
        prefix = unit + ":"
        for identifier in subject.identifiers:
            if identifier.startswith(prefix):
                return identifier[len(prefix) :]
        return ""

    def key(self, value: str) -> str:
        """What exposures are kept under; those of sessions and periods are not kept, their hash says all."""
        if self.chooser is not None:
            return ""
        if self.unit == "person":
            return self.id
        if self.unit in ("anonymous_id", "account", "household"):
            return f"{self.id}|{value}"
        return ""

    def assign(self, subject: Subject, now: Millis) -> tuple[Assignment, ...]:
        """The arm, several of them for a ranking, none for a unit that is not in."""
        ship = self.definition.ship
        if ship:
            return (Assignment(self.id, ship, "", 1.0, "shipped"),)
        if (self.start is not None and now < self.start) or (self.end is not None and now >= self.end):
            return ()
        value = self.value(subject, now)
        if not value:
            return ()
        key = self.key(value)
        arms = subject.exposed.get(key) if key else None
        if arms:
            arm = stands(arms)
            if arm in self.changes:
                weight = self.weights[self.arms.index(arm)]
                return (Assignment(self.id, arm, value, weight, "sticky", key),)
            return (Assignment(self.id, arm, value, 1.0, "removed"),)
        if self.layer_draw is not None and not self.slots[0] <= self.layer_draw(value) < self.slots[1]:
            return ()
        if self.audience is not None and not self.audience(subject.attributes()):
            return ()
        if self.chooser is not None:
            return self._by_bandit(self.chooser(self.id, now), subject, value)
        index = choose(self.draw(value), self.ranges_at(now) if self._ramp else self.ranges)
        if index < 0:
            return ()
        return (Assignment(self.id, self.arms[index], value, self.weights[index], "assigned", key),)

    def _by_bandit(self, chooser: Chooser, subject: Subject, value: str) -> tuple[Assignment, ...]:
        """What the bandit draws among the arms that this unit may see; none when there is no such arm, or,
        while the first arm is served, when that may not be shown."""
        x = self._inputs(subject)
        allowed = self._allowed(subject)
        if allowed is not None and not allowed:
            return ()
        if self.show:
            draws = [self.draw(f"{value}|{place}") for place in range(min(self.show, subject.places))]
            return tuple(
                [
                    Assignment(self.id, choice.arm, value, choice.propensity, "bandit", "", x)
                    for choice in chooser.ranking(draws, x, allowed)
                ]
            )
        if chooser.mode == "live":
            drawn = chooser.choose(self.draw(value), x, allowed)
            return (Assignment(self.id, drawn.arm, value, drawn.propensity, "bandit", "", x),)
        first = self.arms[0]
        if allowed is not None and first not in allowed:
            return ()
        would = float(chooser.probabilities(x, allowed)[0])
        return (Assignment(self.id, first, value, 1.0, chooser.mode, "", x, would),)

    def _allowed(self, subject: Subject) -> list[str] | None:
        """The arms that this unit may see; None for all of them."""
        if not self.only and not (self.items and subject.may_show):
            return None
        arms = self.arms
        if self.only:
            known = subject.attributes()
            arms = [arm for arm in arms if arm not in self.only or self.only[arm](known)]
        if self.items and subject.may_show is not None:
            shown = subject.may_show([self.items[arm] for arm in arms])
            arms = [arm for arm in arms if self.items[arm] in shown]
        return None if len(arms) == len(self.arms) else arms


class Assigner:
    """The experiments of a workspace, by placement. Pure: the same subject and time, the same answer.

    ``stopped`` are experiments that were stopped while running (a guardrail, a person): everybody sees the
    placement as it is.
    """

    def __init__(
        self, definitions: Experiments, stopped: Collection[str] = (), choosers: Choosers | None = None
    ) -> None:
        self.definitions = definitions
        self.stopped = frozenset(stopped)
        hashes = {layer.id: layer.hash for layer in definitions.layers}
        self._by_id = {
            e.id: _Compiled(e, hashes.get(e.layer), choosers)
            for e in definitions.experiments
            if e.id not in self.stopped and (e.status == "running" or e.ship)
        }
        self._holdout = (
            None if definitions.holdout is None else _Compiled(holdout_experiment(definitions.holdout))
        )
        self._held_at = frozenset(definitions.holdout.placements if definitions.holdout else ())
        self._by_placement: dict[str, tuple[_Compiled, ...]] = {}
        for one in self._by_id.values():
            for placement in one.definition.placements:
                self._by_placement[placement] = (*self._by_placement.get(placement, ()), one)

    def assign(self, placement: str, subject: Subject, now: Millis) -> Assigned:
        """What every experiment at the placement says, in the order of the definition. Under 5 us for one."""
        here = self._by_placement.get(placement, ())
        holdout = self._holdout
        if holdout is not None and (not self._held_at or placement in self._held_at):
            words = holdout.assign(subject, now)
            if words:
                if words[0].arm == HELD:
                    return Assigned(words, held=True)
                return Assigned((*words, *self._words(here, subject, now)))
        if not here:
            return NOT_ASSIGNED
        return Assigned(tuple(self._words(here, subject, now)))

    def is_on(self, experiment_id: str) -> bool:
        """Whether it runs or is shipped."""
        return experiment_id in self._by_id

    def flag(self, experiment_id: str, subject: Subject, now: Millis) -> Assigned:
        """One experiment's word, whatever the placement: a feature flag. Raises KeyError when it is not
        running."""
        one = self._by_id[experiment_id]
        holdout = self._holdout
        if holdout is not None and not self._held_at:
            held = holdout.assign(subject, now)
            if held and held[0].arm == HELD:
                return Assigned(held, held=True)
        return Assigned(tuple(self._words((one,), subject, now)))

    def pinned(self, assignments: Sequence[Assignment]) -> list[str]:
        """The items that rankings put to the top, in order."""
        return [
            one.items[word.arm]
            for word in assignments
            if (one := self._by_id.get(word.experiment)) is not None and one.show and word.arm in one.items
        ]

    def ranks(self, placement: str) -> bool:
        """Whether some experiment at the placement ranks items."""
        return any(one.show for one in self._by_placement.get(placement, ()))

    def change(self, experiment_id: str, arm: str) -> Change:
        """What the arm changes."""
        one = self._holdout if experiment_id == HOLDOUT else self._by_id[experiment_id]
        assert one is not None
        return one.changes[arm]

    @staticmethod
    def _words(here: Sequence[_Compiled], subject: Subject, now: Millis) -> list[Assignment]:
        return [word for one in here for word in one.assign(subject, now)]
