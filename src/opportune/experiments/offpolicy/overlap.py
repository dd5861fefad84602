"""Whether the log can speak about the policy at all: how much of what it would do was ever tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opportune.experiments.offpolicy.log import Floats, Log


@dataclass(frozen=True, slots=True)
class Overlap:
    """``effective`` is Kish's effective sample size of the weights; ``unsupported`` the share of the target
    policy's choices that the log never has at that position; ``largest`` the share that the heaviest 1 % of
    rounds has of all weight; ``mean_weight`` should be 1, ``mean_weight_z`` says by how many standard errors
    it is not; ``rewarded`` counts rounds with weight and a reward other than 0."""

    rounds: int
    effective: float
    unsupported: float
    largest: float
    mean_weight: float
    mean_weight_z: float
    max_weight: float
    rewarded: int


def overlap(log: Log, chance: Floats) -> Overlap:
    """Diagnostics of a log under a target policy with probabilities (n, n_actions)."""
    weight = chance[np.arange(len(log)), log.action] / log.propensity
    tried = np.zeros((log.n_positions, log.n_actions), dtype=bool)
    tried[log.position, log.action] = True
    unsupported = float((chance * ~tried[log.position]).sum(axis=1).mean())
    return of_weights(weight, log.reward, unsupported)


def of_weights(weight: Floats, reward: Floats, unsupported: float) -> Overlap:
    n, total = len(weight), float(weight.sum())
    squares = float((weight**2).sum())
    heavy = np.sort(weight)[-max(1, n // 100) :]
    mean = total / n
    error = float(weight.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return Overlap(
        rounds=n,
        effective=total**2 / squares if squares else 0.0,
        unsupported=unsupported,
        largest=float(heavy.sum()) / total if total else 0.0,
        mean_weight=mean,
        mean_weight_z=float((mean - 1) / error)
        if error > 0
        else (0.0 if np.isclose(mean, 1) else float("inf")),
        max_weight=float(weight.max()),
        rewarded=int(((weight > 0) & (reward != 0)).sum()),
    )
