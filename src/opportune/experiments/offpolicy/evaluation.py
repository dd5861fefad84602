"""A policy judged on a log: every estimator with its interval, the overlap, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opportune.experiments.offpolicy import intervals
from opportune.experiments.offpolicy.estimators import (
    Direct,
    DoublyRobust,
    Estimator,
    Ips,
    Rounds,
    ShrunkDr,
    Snips,
    SwitchDr,
    tuned,
    value,
)
from opportune.experiments.offpolicy.log import Floats, Log
from opportune.experiments.offpolicy.overlap import Overlap, overlap
from opportune.experiments.offpolicy.reward_model import AdditiveRewards, RewardModel, chosen_penalty
from opportune.experiments.offpolicy.target import probabilities

MIN_EFFECTIVE = 100.0
MAX_UNSUPPORTED = 0.05
MIN_REWARDED = 10
MAX_WEIGHT_Z = 4.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """``low`` and ``high`` by bootstrap, ``standard_error`` by the delta method; ``threshold`` if tuned."""

    name: str
    value: float
    low: float
    high: float
    standard_error: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """``logged`` is what the logging policy earned per round. ``lift`` is the doubly robust estimate less
    that, with the interval of the difference round by round."""

    logged: float
    estimates: tuple[Estimate, ...]
    overlap: Overlap
    lift: float
    lift_low: float
    lift_high: float
    judged: bool
    verdict: str


def evaluate(
    log: Log,
    target: Floats,
    *,
    model: RewardModel | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    folds: int = 3,
    seed: int = 0,
) -> Judgement:
    """Judge a target policy (see :func:`~opportune.experiments.offpolicy.target.probabilities`) on a log.

    Without a model, an :class:`AdditiveRewards` whose penalty is chosen on the log. The verdict declines to
    judge where the log cannot carry it, and names why.
    """
    chance = probabilities(target, log)
    chosen = model or AdditiveRewards(chosen_penalty(log, seed))
    rounds = Rounds.of(log, chance, chosen, folds, seed)
    estimators: list[Estimator] = [
        Ips(),
        Snips(),
        Direct(),
        DoublyRobust(),
        tuned(SwitchDr, rounds),
        tuned(ShrunkDr, rounds),
    ]
    ends = intervals.bootstrap(estimators, rounds, confidence, resamples, seed)
    estimates = tuple(_estimate(each, rounds, *end) for each, end in zip(estimators, ends, strict=True))
    lift, low, high = _lift(rounds, confidence)
    found = overlap(log, chance)
    reasons = doubts(found)
    return Judgement(
        logged=float(log.reward.mean()),
        estimates=estimates,
        overlap=found,
        lift=lift,
        lift_low=low,
        lift_high=high,
        judged=not reasons,
        verdict=_words(reasons, float(log.reward.mean()), lift, low, high, confidence),
    )


def _estimate(estimator: Estimator, rounds: Rounds, low: float, high: float) -> Estimate:
    threshold = None
    if isinstance(estimator, SwitchDr):
        threshold = estimator.tau
    elif isinstance(estimator, ShrunkDr):
        threshold = estimator.lambda_
    return Estimate(
        name=estimator.name,
        value=value(estimator, rounds),
        low=low,
        high=high,
        standard_error=intervals.standard_error(estimator, rounds),
        threshold=threshold,
    )


@dataclass(frozen=True, slots=True)
class _Gain:
    """The doubly robust estimate less what was earned, round by round."""

    name = "gain"

    def terms(self, rounds: Rounds) -> tuple[Floats, Floats]:
        numerator, denominator = DoublyRobust().terms(rounds)
        return numerator - rounds.reward, denominator


def _lift(rounds: Rounds, confidence: float) -> tuple[float, float, float]:
    low, high = intervals.analytic(_Gain(), rounds, confidence)
    return value(_Gain(), rounds), low, high


def doubts(found: Overlap) -> list[str]:
    """Every reason why this log cannot carry a judgement, in words; none when it can."""
    said = []
    if found.unsupported > MAX_UNSUPPORTED:
        said.append(
            f"{found.unsupported:.0%} of what the new policy would show was never shown by the logged one"
        )
    if found.effective < MIN_EFFECTIVE:
        said.append(
            f"{found.rounds:,} logged rounds are worth only {found.effective:,.0f} to the new policy "
            f"(at least {MIN_EFFECTIVE:,.0f} are needed)"
        )
    if found.rewarded < MIN_REWARDED:
        said.append(f"only {found.rewarded} rewarded rounds bear on it (at least {MIN_REWARDED} are needed)")
    if abs(found.mean_weight_z) > MAX_WEIGHT_Z and found.unsupported <= MAX_UNSUPPORTED:
        said.append(
            f"the logged propensities do not add up: weights average {found.mean_weight:.2f} instead of 1"
        )
    return said


def _words(reasons: list[str], logged: float, lift: float, low: float, high: float, confidence: float) -> str:
    if reasons:
        return "cannot be judged from this log: " + "; ".join(reasons)
    if low <= 0 <= high or not np.isfinite(low):
        return (
            f"no difference shown: {lift:+.4g} per round against {logged:.4g}, "
            f"{confidence:.0%} interval {low:+.4g} to {high:+.4g}"
        )
    better = "better" if lift > 0 else "worse"
    return (
        f"{better}: {lift:+.4g} per round against {logged:.4g}, "
        f"{confidence:.0%} interval {low:+.4g} to {high:+.4g}"
    )
