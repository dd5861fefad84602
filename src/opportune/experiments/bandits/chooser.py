"""Which arm now, and with what probability."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec
import numpy as np

from opportune.clock import Millis
from opportune.errors import InvalidRequest
from opportune.experiments.bandits.best import Floats, best_of_betas, best_of_normals
from opportune.experiments.bandits.guard import Mode
from opportune.experiments.bandits.policy import Bandit, EpsilonGreedy, LinUcb, Thompson
from opportune.experiments.bandits.posterior import SHARED, BanditFold, Learnt, Sums, inputs, width

_EXACT_TIES = 1e-12


class Choice(msgspec.Struct, frozen=True):
    """``propensity`` is the probability with which ``arm`` was drawn from those that were allowed, exactly:
    the draw is from ``probabilities``, in the bandit's order of arms."""

    arm: str
    propensity: float
    probabilities: tuple[float, ...]


class Beliefs(msgspec.Struct, frozen=True):
    """What is believed of every arm here and now, in the bandit's order: mean and deviation of its expected
    reward; ``a`` and ``b`` where the posterior is a Beta."""

    mean: Floats
    deviation: Floats
    a: Floats | None = None
    b: Floats | None = None


class Chooser:
    """A bandit with what it has learnt. Immutable: after a batch of facts, or after each, make another.

    O(k² · 97) once for a bandit without context, then a draw; O(k (d² + 32 k)) per choice with context.
    """

    def __init__(self, bandit: Bandit, learnt: Learnt, now: Millis, mode: Mode = "live") -> None:
        self.bandit = bandit
        self.mode = mode
        self.learnt = learnt
        self.now = now
        self._fold = BanditFold(bandit)
        self._models = [self._model(arm) for arm in bandit.arms] if width(bandit) else []
        self._fixed = None if self._models else self._shares(self.beliefs(()), None)

    def choose(self, draw: float, x: Sequence[float] = (), allowed: Collection[str] | None = None) -> Choice:
        """The arm that ``draw`` (uniform in [0, 1)) falls on. ``allowed`` are the arms that may be shown
        (caps, stock, removed variants); the others' probability goes to them before the draw, so that the
        propensity stays what it says. Raises :class:`InvalidRequest` when none may."""
        shares = self.probabilities(x, allowed)
        index = int(np.searchsorted(np.cumsum(shares), draw, side="right"))
        if index >= len(shares) or shares[index] == 0.0:
            index = int(np.flatnonzero(shares)[-1])
        return Choice(self.bandit.arms[index], float(shares[index]), tuple(shares.tolist()))

    def probabilities(self, x: Sequence[float] = (), allowed: Collection[str] | None = None) -> Floats:
        """(arms,) what :meth:`choose` draws from; sums to 1."""
        if allowed is None:
            return self._shares(self.beliefs(x), None) if self._fixed is None else self._fixed
        mask = np.array([arm in allowed for arm in self.bandit.arms])
        if not mask.any():
            raise InvalidRequest(
                "none of the bandit's arms may be shown",
                seen=sorted(allowed),
                remedy=f"allow one of {', '.join(self.bandit.arms)}, or show the placement as it is",
            )
        return self._shares(self.beliefs(x), mask)

    def ranking(
        self, draws: Sequence[float], x: Sequence[float] = (), allowed: Collection[str] | None = None
    ) -> list[Choice]:
        """The first ``len(draws)`` arms, best first: each drawn among those that are left, with its
        propensity given what stands before it; the probability of the whole list is their product."""
        left = [arm for arm in self.bandit.arms if allowed is None or arm in allowed]
        chosen = []
        for draw in draws[: len(left)]:
            choice = self.choose(draw, x, left)
            chosen.append(choice)
            left.remove(choice.arm)
        return chosen

    def beliefs(self, x: Sequence[float]) -> Beliefs:
        if self._models:
            found = [
                model.at(inputs(self.bandit, arm, x))
                for arm, model in zip(self.bandit.arms, self._models, strict=True)
            ]
            mean, deviation = np.array(found).T
            return Beliefs(mean, deviation)
        return self._plain()

    def _plain(self) -> Beliefs:
        bandit = self.bandit
        sums = [self._fold.as_of(self.learnt.arms.get(arm), self.now) for arm in bandit.arms]
        trials = np.array([each.trials - each.young for each in sums])
        reward = np.array([each.reward for each in sums])
        known = trials + bandit.prior_trials
        mean = (reward + bandit.prior_mean * bandit.prior_trials) / known
        if bandit.binary:
            a = bandit.prior_mean * bandit.prior_trials + np.maximum(reward, 0.0)
            b = np.maximum(known - a, 1e-3)
            mean = a / (a + b)
            return Beliefs(mean, np.sqrt(mean * (1 - mean) / (a + b + 1)), a, b)
        return Beliefs(mean, self._spread(sums) / np.sqrt(known))

    def _spread(self, sums: list[Sums]) -> float:
        """The deviation of one reward: given, or pooled over the arms; 1 while nothing is known."""
        if self.bandit.scale:
            return self.bandit.scale
        trials = sum(each.trials for each in sums)
        if trials < 2:
            return 1.0
        within = sum(each.squares - each.reward**2 / each.trials for each in sums if each.trials > 0)
        return float(np.sqrt(max(within / trials, 1e-12)))

    def _model(self, arm: str) -> _Linear:
        kept = self.learnt.arms.get(SHARED if self.bandit.shared else arm)
        return _Linear(self.bandit, self._fold.as_of(kept, self.now))

    def _shares(self, found: Beliefs, mask: np.ndarray | None) -> Floats:
        bandit = self.bandit
        keep = np.ones(len(bandit.arms), dtype=bool) if mask is None else mask
        n = int(keep.sum())
        shares = np.zeros(len(bandit.arms))
        policy = bandit.policy
        if isinstance(policy, Thompson):
            if found.a is not None and found.b is not None:
                shares[keep] = best_of_betas(found.a[keep], found.b[keep])
            else:
                shares[keep] = best_of_normals(found.mean[keep], found.deviation[keep])
        elif isinstance(policy, LinUcb):
            shares[keep] = _highest(found.mean[keep] + policy.alpha * found.deviation[keep])
        else:
            assert isinstance(policy, EpsilonGreedy)
            shares[keep] = policy.epsilon / n + (1 - policy.epsilon) * _highest(found.mean[keep])
        shares[keep] = bandit.floor + (1 - n * bandit.floor) * shares[keep]
        return shares


class _Linear:
    """Ridge regression as a posterior: mean ``A⁻¹ b``, covariance ``s² A⁻¹``, ``A`` with the prior on its
    diagonal. A 0 / 1 reward has at most the spread of a coin with the prior's odds."""

    def __init__(self, bandit: Bandit, sums: Sums) -> None:
        d = width(bandit)
        gram = np.array(sums.gram).reshape(d, d) if sums.gram else np.zeros((d, d))
        moment = np.array(sums.moment) if sums.moment else np.zeros(d)
        if sums.young:
            moment = moment * (sums.trials / max(sums.trials - sums.young, 1e-9))
        prior = np.full(d, bandit.prior_trials)
        start = np.zeros(d)
        start[0] = bandit.prior_mean
        self._inverse = np.linalg.inv(gram + np.diag(prior))
        self._slope = self._inverse @ (moment + prior * start)
        self._spread = _spread_of(bandit, sums)

    def at(self, x: Floats) -> tuple[float, float]:
        """Mean and deviation of the expected reward."""
        return float(x @ self._slope), self._spread * math.sqrt(max(float(x @ self._inverse @ x), 0.0))


def _spread_of(bandit: Bandit, sums: Sums) -> float:
    if bandit.scale:
        return bandit.scale
    trials = sums.trials + bandit.prior_trials
    mean = (sums.reward + bandit.prior_mean * bandit.prior_trials) / trials
    if bandit.binary:
        mean = min(max(mean, 1e-3), 1 - 1e-3)
        return float(np.sqrt(mean * (1 - mean)))
    if sums.trials < 2:
        return 1.0
    return float(np.sqrt(max(sums.squares / sums.trials - (sums.reward / sums.trials) ** 2, 1e-12)))


def _highest(score: Floats) -> Floats:
    """All of it to the highest, shared by ties."""
    top = (score >= score.max() - _EXACT_TIES).astype(np.float64)
    shares: Floats = top / top.sum()
    return shares
