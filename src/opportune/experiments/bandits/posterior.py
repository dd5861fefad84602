"""What a bandit has learnt: sums that combine, so that workers, batches and days add up to the same bandit.

A trial counts from the moment that its arm was shown, a reward from the moment that it arrives; a reward that
never comes is the zero that the trial already counted. Forgetting is by the time of the trial, forward
(Cormode et al. 2009): a trial's weight does not depend on when it was folded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from opportune.clock import DAY, MINUTE, Millis
from opportune.errors import InvalidRequest
from opportune.experiments.bandits.best import Floats
from opportune.experiments.bandits.policy import Bandit

SHARED = "*"
"""The name under which arms with one model are kept."""


class Trial(msgspec.Struct, array_like=True, frozen=True, tag="t"):
    """An arm was shown; ``x`` are the context's numbers (empty for a bandit without context). ``count`` is -1
    for a trial that turned out to be none: it takes back exactly what the first one gave."""

    arm: str
    time: Millis
    x: tuple[float, ...] = ()
    count: float = 1.0


class Reward(msgspec.Struct, array_like=True, frozen=True, tag="r"):
    """What came of a trial, once or in parts. ``time`` is the trial's, not the reward's."""

    arm: str
    time: Millis
    value: float
    x: tuple[float, ...] = ()


class Sums(msgspec.Struct, array_like=True):
    """One arm's sums, weighted as of ``at``: trials, rewards, squared rewards; for a contextual bandit also
    ``gram`` = sum of x xᵀ (row by row) and ``moment`` = sum of x · reward. ``young`` sums the chance that a
    trial's reward is still to come: a sum of ``exp(-age / delay)``, which fades and adds up like the others.
    """

    at: Millis = 0
    trials: float = 0.0
    reward: float = 0.0
    squares: float = 0.0
    gram: list[float] = []
    moment: list[float] = []
    young: float = 0.0


class Learnt(msgspec.Struct, array_like=True):
    """The sums of every arm. ``offset`` is the last journal entry folded in."""

    arms: dict[str, Sums] = {}
    offset: int = 0


class BanditFold:
    """``zero``, ``fold``, ``combine``, ``read`` of one bandit's sums."""

    def __init__(self, bandit: Bandit) -> None:
        self.bandit = bandit
        self._half_life = bandit.half_life_days * DAY
        self._delay = bandit.delay_minutes * MINUTE
        self._width = width(bandit)

    def zero(self) -> Learnt:
        return Learnt(arms={})

    def fold(self, state: Learnt, fact: Trial | Reward) -> Learnt:
        """One fact in; the state given is changed and returned. Arms that the bandit does not have (any more)
        are kept too: they may come back."""
        x = inputs(self.bandit, fact.arm, fact.x)
        sums = state.arms.setdefault(SHARED if self.bandit.shared else fact.arm, Sums(at=fact.time))
        if self._width and not sums.gram:
            sums.gram, sums.moment = [0.0] * self._width**2, [0.0] * self._width
        weight = self._bring(sums, fact.time)
        if type(fact) is Trial:
            weight *= fact.count
            sums.trials += weight
            sums.young += weight * self._coming(sums.at - fact.time)
            if self._width:
                outer = weight * np.outer(x, x).ravel()
                sums.gram = (np.asarray(sums.gram) + outer).tolist()
        else:
            assert isinstance(fact, Reward)
            sums.reward += weight * fact.value
            sums.squares += weight * fact.value**2
            if self._width:
                sums.moment = (np.asarray(sums.moment) + weight * fact.value * x).tolist()
        return state

    def combine(self, a: Learnt, b: Learnt) -> Learnt:
        """The sums of both; neither is changed."""
        both = Learnt(arms={}, offset=max(a.offset, b.offset))
        for name in sorted({*a.arms, *b.arms}):
            mine, theirs = a.arms.get(name), b.arms.get(name)
            if mine is None or theirs is None:
                kept = mine or theirs
                assert kept is not None
                both.arms[name] = _copy(kept, kept.at, 1.0)
                continue
            at = max(mine.at, theirs.at)
            left, right = (_copy(each, at, self._faded(at - each.at)) for each in (mine, theirs))
            both.arms[name] = Sums(
                at,
                left.trials + right.trials,
                left.reward + right.reward,
                left.squares + right.squares,
                _added(left.gram, right.gram),
                _added(left.moment, right.moment),
                left.young * self._coming(at - mine.at) + right.young * self._coming(at - theirs.at),
            )
        return both

    def read(self, state: Learnt, now: Millis) -> dict[str, Any]:
        """Trials, rewards and mean per arm as of now; plain JSON."""
        found = {}
        for name, kept in sorted(state.arms.items()):
            sums = self.as_of(kept, now)
            found[name] = {
                "trials": sums.trials,
                "reward": sums.reward,
                "mean": sums.reward / sums.trials if sums.trials else None,
                "awaited": sums.young,
            }
        return found

    def _bring(self, sums: Sums, time: Millis) -> float:
        """The weight of a fact of that time; the sums are faded to it if it is newer than they."""
        if time > sums.at:
            faded = self._faded(time - sums.at)
            if faded != 1.0:
                sums.trials *= faded
                sums.reward *= faded
                sums.squares *= faded
                sums.gram = [value * faded for value in sums.gram]
                sums.moment = [value * faded for value in sums.moment]
            sums.young *= faded * self._coming(time - sums.at)
            sums.at = time
            return 1.0
        return self._faded(sums.at - time)

    def as_of(self, sums: Sums | None, now: Millis) -> Sums:
        """One arm's sums faded to now; nothing where there are none."""
        if sums is None:
            return Sums()
        age = max(0, now - sums.at)
        moved = _copy(sums, max(now, sums.at), self._faded(age))
        moved.young *= self._coming(age)
        return moved

    def _coming(self, age: Millis) -> float:
        """The chance that a reward of a trial this old is still to come."""
        return math.exp(-age / self._delay) if self._delay else 0.0

    def _faded(self, age: Millis) -> float:
        return float(2.0 ** (-age / self._half_life)) if self._half_life else 1.0


def width(bandit: Bandit) -> int:
    """How many numbers a model sees: 0 without context; a 1 and the features; for ``shared`` arms also an
    indicator per value of each part of the arm's name."""
    if not bandit.features and not bandit.shared:
        return 0
    return 1 + len(bandit.features) + (len(_parts(bandit)) if bandit.shared else 0)


def inputs(bandit: Bandit, arm: str, x: Sequence[float]) -> Floats:
    """(width,) what the model of this arm sees. Raises :class:`InvalidRequest` when numbers are missing."""
    if not bandit.features and not bandit.shared:
        return np.empty(0)
    if len(x) != len(bandit.features):
        raise InvalidRequest(
            "a contextual bandit needs its features",
            seen=len(x),
            where="x",
            remedy=f"give {', '.join(bandit.features)}",
        )
    own: list[float] = []
    if bandit.shared:
        mine = set(enumerate(_split(arm)))
        own = [1.0 if part in mine else 0.0 for part in _parts(bandit)]
    return np.array([1.0, *x, *own])


def _parts(bandit: Bandit) -> list[tuple[int, str]]:
    """(place, value) of every part of the arms' names."""
    return sorted({part for arm in bandit.arms for part in enumerate(_split(arm))})


def _split(arm: str) -> list[str]:
    """``message|channel|hour``, or ``message__channel__hour`` as factorial experiments name their arms."""
    return arm.replace("__", "|").split("|")


def _copy(sums: Sums, at: Millis, times: float) -> Sums:
    return Sums(
        at,
        sums.trials * times,
        sums.reward * times,
        sums.squares * times,
        [value * times for value in sums.gram],
        [value * times for value in sums.moment],
        sums.young * times,
    )


def _added(a: list[float], b: list[float]) -> list[float]:
    if not a or not b:
        return list(a or b)
    return [left + right for left, right in zip(a, b, strict=True)]
