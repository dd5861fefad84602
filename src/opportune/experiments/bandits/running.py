"""The bandits of running experiments: which decisions wait for a reward, and what all of them have taught."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Protocol

import msgspec

from opportune.clock import HOUR, Millis
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.bandits.guard import Guard, Standing
from opportune.experiments.bandits.policy import Bandit, Policy, Positive, Share, Thompson
from opportune.experiments.bandits.posterior import BanditFold, Learnt, Reward, Trial
from opportune.experiments.bandits.traffic import Traffic

MAX_WAITING = 200_000
"""Decisions of one bandit that wait for their reward; the oldest are given up first."""
REFRESH: Millis = 1_000
"""How old the shares may be that a decision draws from, when new facts have come."""


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``bandit:`` of an experiment: traffic follows the rewards. A decision's reward is 1 when an outcome of
    the kind ``reward`` (``view``, ``cart``, ``buy``, an event's name; any when empty) comes of it within
    ``within_hours``. ``features`` name what audiences may ask about: features, ``traits.x``, ``context.x``;
    numbers only, 0 where there is none.

    ``shared`` gives a factorial experiment (message x channel x time) one model over its levels. ``guard``
    keeps the bandit an apprentice of the first arm until it would mostly do the same, and goes back to the
    first arm when it earns less. With ``show`` the arms are ranked: that many of the items that the arms'
    ``value`` names stand at the top of the placement, best first, and clicks teach as a list read from the
    top does.
    """

    policy: Policy = Thompson()
    features: tuple[str, ...] = ()
    shared: bool = False
    floor: Share = 0.02
    half_life_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 0.0
    delay_minutes: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    prior_mean: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    prior_trials: Positive = 10.0
    reward: str = ""
    within_hours: Positive = 72.0
    guard: Guard | None = None
    show: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0

    def bandit(self, arms: tuple[str, ...]) -> Bandit:
        """Raises :class:`InvalidDefinition` when the arms' floors do not fit."""
        return Bandit(
            arms,
            policy=self.policy,
            features=self.features,
            shared=self.shared,
            floor=self.floor,
            half_life_days=self.half_life_days,
            delay_minutes=self.delay_minutes,
            prior_mean=self.prior_mean,
            prior_trials=self.prior_trials,
        )


class Running(msgspec.Struct, frozen=True):
    """A bandit at work. ``arm_of`` an item, where arms are ranked."""

    allocation: Allocation
    bandit: Bandit
    arm_of: Mapping[str, str] = {}


class Word(Protocol):
    """What an assignment says of a bandit's decision."""

    @property
    def experiment(self) -> str: ...

    @property
    def arm(self) -> str: ...

    @property
    def x(self) -> tuple[float, ...]: ...

    @property
    def why(self) -> str: ...

    @property
    def propensity(self) -> float: ...

    @property
    def would(self) -> float: ...


BY_BANDIT = frozenset(("bandit", "apprentice", "baseline"))
"""Why an arm was shown, when a bandit had a say in it."""


class Waiting(msgspec.Struct, array_like=True, frozen=True):
    """A decision that may still be rewarded. ``shown`` and ``clicked`` are arms of a ranking; ``propensity``
    is that of a live decision under a guard, else 0."""

    arm: str
    time: Millis
    x: tuple[float, ...] = ()
    shown: tuple[str, ...] = ()
    clicked: tuple[str, ...] = ()
    propensity: float = 0.0


class Known(msgspec.Struct, array_like=True):
    """What is kept in a checkpoint, by experiment. ``offset`` is the last journal entry folded in."""

    learnt: dict[str, Learnt] = {}
    waiting: dict[str, dict[str, Waiting]] = {}
    offset: int = 0
    standing: dict[str, Standing] = {}
    traffic: dict[str, Traffic] = {}


class Bandits:
    """Everything that bandits have learnt. Only the folding thread changes it, in journal order."""

    def __init__(self, running: Mapping[str, Running], known: Known) -> None:
        self.running = dict(running)
        self.known = known
        self._folds = {name: BanditFold(one.bandit) for name, one in self.running.items()}
        self._choosers: dict[str, Chooser] = {}
        self._changed: set[str] = set()

    def decided(self, seq: int, decision_id: str, time: Millis, words: Iterable[Word]) -> None:
        """A decision's arms; those of other experiments are left alone."""
        if seq <= self.known.offset:
            return
        for name, group in groupby(words, key=lambda word: word.experiment):
            one = self.running.get(name)
            mine = [word for word in group if word.why in BY_BANDIT]
            if one is None or not mine:
                continue
            first = mine[0]
            learnt = self.known.learnt.setdefault(name, Learnt(arms={}))
            traffic = self.known.traffic.setdefault(name, Traffic(pieces=[]))
            traffic.add(time, first.arm)
            for word in mine:
                self._folds[name].fold(learnt, Trial(word.arm, time, word.x))
            live = 0.0
            if one.allocation.guard is not None:
                standing = self.known.standing.setdefault(name, Standing())
                if first.why == "apprentice":
                    standing.watch(first.would)
                elif first.why == "bandit":
                    standing.serve()
                    live = first.propensity
            shown = tuple([word.arm for word in mine]) if one.allocation.show else ()
            waiting = self.known.waiting.setdefault(name, {})
            waiting[decision_id] = Waiting(first.arm, time, first.x, shown, (), live)
            oldest = next(iter(waiting))
            too_old = time - waiting[oldest].time > one.allocation.within_hours * HOUR
            if len(waiting) > MAX_WAITING or too_old:
                del waiting[oldest]
            self._changed.add(name)
            self.known.offset = seq

    def outcome(self, seq: int, decision_id: str, time: Millis, outcomes: Sequence[tuple[str, str]]) -> None:
        """What came of a decision, (kind, item). It is rewarded once, a ranking once per arm; before its
        time, too late, or of another kind it is not."""
        if seq <= self.known.offset:
            return
        for name, one in self.running.items():
            found = self.known.waiting.get(name, {}).get(decision_id)
            if found is None:
                continue
            wanted = one.allocation.reward
            items = [item for kind, item in outcomes if not wanted or kind == wanted]
            if not items or not 0 <= time - found.time <= one.allocation.within_hours * HOUR:
                continue
            if one.allocation.show:
                clicked = [arm for i in items if (arm := one.arm_of.get(i)) in found.shown and arm]
                if not self._clicked(name, decision_id, found, clicked):
                    continue
            else:
                del self.known.waiting[name][decision_id]
                self._folds[name].fold(self.known.learnt[name], Reward(found.arm, found.time, 1.0, found.x))
                if found.propensity:
                    baseline = found.arm == one.bandit.arms[0]
                    self.known.standing[name].earn(1.0, found.propensity, was_baseline=baseline)
            self._changed.add(name)
            self.known.offset = seq

    def _clicked(self, name: str, decision_id: str, found: Waiting, arms: Sequence[str]) -> bool:
        """A list is read from the top down to its last click (:func:`cascade`): as long as nothing is clicked
        all of it counts as looked at, then what stands below the last click is taken back."""
        fold, learnt = self._folds[name], self.known.learnt[name]
        new = [arm for arm in dict.fromkeys(arms) if arm not in found.clicked]
        if not new:
            return False
        place = {arm: i for i, arm in enumerate(found.shown)}
        seen = max((place[arm] for arm in found.clicked), default=len(found.shown) - 1)
        last = max(place[arm] for arm in (*found.clicked, *new))
        for arm in found.shown[last + 1 : seen + 1]:
            fold.fold(learnt, Trial(arm, found.time, found.x, -1.0))
        for arm in found.shown[seen + 1 : last + 1]:
            fold.fold(learnt, Trial(arm, found.time, found.x))
        for arm in new:
            fold.fold(learnt, Reward(arm, found.time, 1.0, found.x))
        clicked = (*found.clicked, *new)
        self.known.waiting[name][decision_id] = msgspec.structs.replace(found, clicked=clicked)
        return True

    def forget(self, decision_ids: Collection[str]) -> int:
        """These decisions wait for nothing any more; how many did. What they have taught stays: counts."""
        forgotten = 0
        for waiting in self.known.waiting.values():
            for decision_id in decision_ids:
                forgotten += waiting.pop(decision_id, None) is not None
        return forgotten

    def chooser(self, name: str, now: Millis) -> Chooser:
        """What a decision draws from; made anew at most once in ``REFRESH`` when facts have come. Raises
        KeyError for an experiment without a bandit."""
        found = self._choosers.get(name)
        if found is None or (name in self._changed and not 0 <= now - found.now < REFRESH):
            one = self.running[name]
            guard, standing = one.allocation.guard, self.known.standing.get(name) or Standing()
            found = Chooser(
                one.bandit,
                self.known.learnt.get(name) or Learnt(arms={}),
                now,
                "live" if guard is None else standing.mode(guard),
            )
            self._choosers[name] = found
            self._changed.discard(name)
        return found
