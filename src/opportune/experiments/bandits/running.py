"""The bandits of running experiments: which decisions wait for a reward, and what all of them have taught."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated

import msgspec

from opportune.clock import HOUR, Millis
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.bandits.policy import Bandit, Policy, Positive, Share, Thompson
from opportune.experiments.bandits.posterior import BanditFold, Learnt, Reward, Trial

MAX_WAITING = 200_000
"""Decisions of one bandit that wait for their reward; the oldest are given up first."""
REFRESH: Millis = 1_000
"""How old the shares may be that a decision draws from, when new facts have come."""


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``bandit:`` of an experiment: traffic follows the rewards. A decision's reward is 1 when an outcome of
    the kind ``reward`` (``view``, ``cart``, ``buy``, an event's name; any when empty) comes of it within
    ``within_hours``. ``features`` name what audiences may ask about: features, ``traits.x``, ``context.x``;
    numbers only, 0 where there is none."""

    policy: Policy = Thompson()
    features: tuple[str, ...] = ()
    floor: Share = 0.02
    half_life_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 0.0
    delay_minutes: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    prior_mean: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    prior_trials: Positive = 10.0
    reward: str = ""
    within_hours: Positive = 72.0

    def bandit(self, arms: tuple[str, ...]) -> Bandit:
        """Raises :class:`InvalidDefinition` when the arms' floors do not fit."""
        return Bandit(
            arms,
            policy=self.policy,
            features=self.features,
            floor=self.floor,
            half_life_days=self.half_life_days,
            delay_minutes=self.delay_minutes,
            prior_mean=self.prior_mean,
            prior_trials=self.prior_trials,
        )


class Waiting(msgspec.Struct, array_like=True, frozen=True):
    """A decision that may still be rewarded."""

    arm: str
    time: Millis
    x: tuple[float, ...] = ()


class Known(msgspec.Struct, array_like=True):
    """What is kept in a checkpoint, by experiment. ``offset`` is the last journal entry folded in."""

    learnt: dict[str, Learnt] = {}
    waiting: dict[str, dict[str, Waiting]] = {}
    offset: int = 0


class Bandits:
    """Everything that bandits have learnt. Only the folding thread changes it, in journal order."""

    def __init__(self, allocations: Mapping[str, tuple[Allocation, Bandit]], known: Known) -> None:
        self.allocations = dict(allocations)
        self.known = known
        self._folds = {name: BanditFold(bandit) for name, (_, bandit) in self.allocations.items()}
        self._choosers: dict[str, Chooser] = {}
        self._changed: set[str] = set()

    def decided(
        self, seq: int, decision_id: str, time: Millis, words: Iterable[tuple[str, str, tuple[float, ...]]]
    ) -> None:
        """A decision's arms, ``(experiment, arm, x)``; those of other experiments are left alone."""
        if seq <= self.known.offset:
            return
        for name, arm, x in words:
            if name not in self._folds:
                continue
            learnt = self.known.learnt.setdefault(name, Learnt(arms={}))
            self._folds[name].fold(learnt, Trial(arm, time, x))
            waiting = self.known.waiting.setdefault(name, {})
            waiting[decision_id] = Waiting(arm, time, x)
            allocation, _ = self.allocations[name]
            oldest = next(iter(waiting))
            if len(waiting) > MAX_WAITING or time - waiting[oldest].time > allocation.within_hours * HOUR:
                del waiting[oldest]
            self._changed.add(name)
            self.known.offset = seq

    def outcome(self, seq: int, decision_id: str, time: Millis, kinds: Collection[str]) -> None:
        """What came of a decision. It is rewarded once; before its time, too late, or of another kind it is
        not."""
        if seq <= self.known.offset:
            return
        for name, (allocation, _) in self.allocations.items():
            found = self.known.waiting.get(name, {}).get(decision_id)
            if found is None or (allocation.reward and allocation.reward not in kinds):
                continue
            if not 0 <= time - found.time <= allocation.within_hours * HOUR:
                continue
            del self.known.waiting[name][decision_id]
            self._folds[name].fold(self.known.learnt[name], Reward(found.arm, found.time, 1.0, found.x))
            self._changed.add(name)
            self.known.offset = seq

    def chooser(self, name: str, now: Millis) -> Chooser:
        """What a decision draws from; made anew at most once in ``REFRESH`` when facts have come. Raises
        KeyError for an experiment without a bandit."""
        found = self._choosers.get(name)
        if found is None or (name in self._changed and not 0 <= now - found.now < REFRESH):
            _, bandit = self.allocations[name]
            found = Chooser(bandit, self.known.learnt.get(name) or Learnt(arms={}), now)
            self._choosers[name] = found
            self._changed.discard(name)
        return found
