"""Estimators of a policy's value from another policy's log.

Each is a ratio of two means over rounds, ``sum(numerator) / sum(denominator)``; the denominator is 1 except
where the estimator normalizes itself. One interval and one bootstrap therefore serve them all. Names and
formulas are those of Open Bandit Pipeline (Saito et al. 2020, arXiv 2008.07146), against which the tests hold
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from opportune.errors import InvalidRequest
from opportune.experiments.offpolicy.log import Floats, Log, Longs
from opportune.experiments.offpolicy.reward_model import RewardModel, cross_fitted
from opportune.experiments.offpolicy.target import probabilities

_NO_CLUSTER = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Rounds:
    """What every estimator reads, each (n,): the reward, the weight ``target / propensity`` of the logged
    action, its predicted reward, the reward predicted for the target policy there; clusters or none."""

    reward: Floats
    weight: Floats
    predicted: Floats
    expected: Floats
    cluster: Longs

    def __len__(self) -> int:
        return len(self.reward)

    @classmethod
    def of(cls, log: Log, target: Floats, model: RewardModel, folds: int = 3, seed: int = 0) -> Rounds:
        """The rounds of a log under a target policy (see :func:`probabilities`), the model cross-fitted."""
        chance = probabilities(target, log)
        predicted, expected = cross_fitted(log, model, chance, folds, seed)
        weight = chance[np.arange(len(log)), log.action] / log.propensity
        return cls(log.reward, weight, predicted, expected, log.cluster)

    @classmethod
    def without_model(cls, reward: Floats, weight: Floats, cluster: Longs = _NO_CLUSTER) -> Rounds:
        """Rounds where nothing is predicted: the doubly robust estimators become weighting."""
        zero = np.zeros(len(reward))
        return cls(reward, weight, zero, zero, cluster)


class Estimator(Protocol):
    @property
    def name(self) -> str: ...

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        """(numerator, denominator), each (n,)."""
        ...


def value(estimator: Estimator, rounds: Rounds) -> float:
    """The estimate; 0 when no round has weight under the target policy."""
    numerator, denominator = estimator.terms(rounds)
    total = float(denominator.sum())
    return float(numerator.sum()) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Ips:
    """Inverse propensity scoring (Horvitz & Thompson 1952): unbiased, as noisy as its largest weights."""

    name = "ips"

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return rounds.weight * rounds.reward, np.ones(len(rounds))


@dataclass(frozen=True, slots=True)
class Snips:
    """Self-normalized weighting (Swaminathan & Joachims 2015): a little bias for much less noise."""

    name = "snips"

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return rounds.weight * rounds.reward, rounds.weight


@dataclass(frozen=True, slots=True)
class Direct:
    """The reward model's word for it (Beygelzimer & Langford 2009): calm, and as biased as the model."""

    name = "dm"

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return rounds.expected, np.ones(len(rounds))


@dataclass(frozen=True, slots=True)
class DoublyRobust:
    """The model, corrected by weighted residuals (Dudik et al. 2014): right when either is."""

    name = "dr"

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return _corrected(rounds, rounds.weight)


@dataclass(frozen=True, slots=True)
class SwitchDr:
    """Doubly robust where the weight is at most ``tau``, the model elsewhere (Wang et al. 2017)."""

    tau: float = 1.0
    name = "switch-dr"

    def __post_init__(self) -> None:
        _not_negative("tau", self.tau)

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return _corrected(rounds, self.shrunk(rounds.weight))

    def shrunk(self, weight: Floats) -> Floats:
        return np.where(weight <= self.tau, weight, 0.0)


@dataclass(frozen=True, slots=True)
class ShrunkDr:
    """Doubly robust with optimistic shrinkage (Su et al. 2020): weights ``l w / (w² + l)``, from the model
    alone at 0 to doubly robust at infinity."""

    lambda_: float = 1.0
    name = "dr-os"

    def __post_init__(self) -> None:
        _not_negative("lambda", self.lambda_)

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        return _corrected(rounds, self.shrunk(rounds.weight))

    def shrunk(self, weight: Floats) -> Floats:
        if np.isinf(self.lambda_):
            return weight
        below = weight**2 + self.lambda_
        return self.lambda_ * weight / np.where(below > 0, below, 1.0)


def _corrected(rounds: Rounds, weight: Floats) -> tuple[Floats, Floats]:
    return rounds.expected + weight * (rounds.reward - rounds.predicted), np.ones(len(rounds))


def _not_negative(name: str, number: float) -> None:
    if not number >= 0:
        raise InvalidRequest(f"{name} must not be negative", seen=number, where=name)


GRID = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, np.inf)


Shrinking = TypeVar("Shrinking", SwitchDr, ShrunkDr)


def tuned(kind: type[Shrinking], rounds: Rounds) -> Shrinking:
    """The estimator of this kind with the threshold of ``GRID`` of least estimated squared error: variance of
    the mean, plus the square of the bias that shrinking brings, itself without bias (after Su et al. 2020,
    section 5)."""
    best, least = kind(GRID[0]), np.inf
    for threshold in GRID:
        tried = kind(threshold)
        numerator, _ = tried.terms(rounds)
        lost = (rounds.weight - tried.shrunk(rounds.weight)) * (rounds.reward - rounds.predicted)
        spread = float(numerator.var()) / len(rounds)
        error = spread + max(0.0, float(lost.mean()) ** 2 - float(lost.var()) / len(rounds))
        if error < least:
            best, least = tried, error
    return best
