"""How sure an estimate is: by the delta method, or by resampling rounds or whole clusters."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from opportune.experiments.offpolicy.estimators import Estimator, Rounds
from opportune.experiments.offpolicy.log import Floats


def standard_error(estimator: Estimator, rounds: Rounds) -> float:
    """Delta method for a ratio of means, clusters as units; infinite with fewer than two units."""
    numerator, denominator = _by_cluster(estimator, rounds)
    units = len(numerator)
    total = denominator.sum()
    if units < 2 or total <= 0:
        return float("inf")
    residual = numerator - numerator.sum() / total * denominator
    return float(np.sqrt(units * residual.var(ddof=1)) / total)


def analytic(estimator: Estimator, rounds: Rounds, confidence: float = 0.95) -> tuple[float, float]:
    """The normal interval around the estimate."""
    numerator, denominator = estimator.terms(rounds)
    total = denominator.sum()
    middle = float(numerator.sum() / total) if total else 0.0
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * standard_error(estimator, rounds)
    return middle - reach, middle + reach


def bootstrap(
    estimators: Sequence[Estimator],
    rounds: Rounds,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """A percentile interval for each, over the same resampled clusters (or rounds); the reward model is not
    fitted anew."""
    drawn = resampled(estimators, rounds, resamples, seed)
    ends = np.quantile(drawn, (0.5 - confidence / 2, 0.5 + confidence / 2), axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def resampled(estimators: Sequence[Estimator], rounds: Rounds, resamples: int, seed: int) -> Floats:
    """(resamples, estimators) estimates; 0 where a resample has no weight."""
    terms = [_by_cluster(each, rounds) for each in estimators]
    above = np.stack([numerator for numerator, _ in terms], axis=1)
    below = np.stack([denominator for _, denominator in terms], axis=1)
    units = len(above)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(estimators)))
    for number in range(resamples):
        times = np.bincount(rng.integers(0, units, units), minlength=units)
        total = times @ below
        np.divide(times @ above, total, out=drawn[number], where=total != 0)
    return drawn


def _by_cluster(estimator: Estimator, rounds: Rounds) -> tuple[Floats, Floats]:
    numerator, denominator = estimator.terms(rounds)
    if not len(rounds.cluster):
        return numerator, denominator
    _, member = np.unique(rounds.cluster, return_inverse=True)
    above = np.bincount(member, weights=numerator).astype(np.float64)
    return above, np.bincount(member, weights=denominator).astype(np.float64)
