"""Fitted Q by backward induction: the value of a message now, if the best follows, by regression.

Ernst et al. 2005 (JMLR 6), for a fixed number of steps: the last step's rewards are regressed first, then
each step's reward plus what the next step's best action is worth. Two things keep it conservative: the
maximum is over the *lower bound* of an ensemble of bootstrapped models (pessimism, Jin et al. 2021), and an
action that was hardly tried at a step is not chosen at all. ``steps_ahead=False`` is the myopic learner: the
same regressions of the immediate reward alone.

The libraries that keep fitted Q (d3rlpy) bring PyTorch along; ridge regressions over some ten columns need
none, and their ensemble costs milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opportune.errors import InvalidRequest
from opportune.experiments.sequences.journeys import Floats, Journeys, Longs


@dataclass(frozen=True, slots=True)
class FittedQ:
    """``caution`` is how many deviations of the ensemble are taken off; ``least`` how many times an action
    must have been tried at a step; ``models`` how many are in the ensemble; ``ridge`` its penalty."""

    steps_ahead: bool = True
    caution: float = 1.0
    least: int = 50
    models: int = 12
    ridge: float = 1.0
    seed: int = 0

    def fit(self, journeys: Journeys) -> Policy:
        """O(steps · actions · models · n d²). Raises :class:`InvalidRequest` when some step has no action
        that was tried ``least`` times."""
        n, steps, d = journeys.state.shape
        rng = np.random.default_rng(self.seed)
        folds = rng.integers(0, n, (self.models, n))
        slope = np.zeros((steps, self.models, journeys.actions, d + 1))
        tried = np.zeros((steps, journeys.actions), dtype=bool)
        after = np.zeros((self.models, n))
        for step in range(steps - 1, -1, -1):
            x, action = _with_one(journeys.state[:, step]), journeys.action[:, step]
            counts = np.bincount(action, minlength=journeys.actions)
            tried[step] = counts >= self.least
            if not tried[step].any():
                raise InvalidRequest(
                    "no action was tried often enough",
                    seen=int(counts.max()),
                    where=f"step {step}",
                    remedy=f"log more journeys, or lower `least` from {self.least}",
                )
            for k in range(self.models):
                target = journeys.reward[:, step] + (after[k] if self.steps_ahead else 0.0)
                for a in np.flatnonzero(tried[step]):
                    rows = folds[k][action[folds[k]] == a]
                    gram = x[rows].T @ x[rows] + self.ridge * np.eye(d + 1)
                    slope[step, k, a] = np.linalg.solve(gram, x[rows].T @ target[rows])
            values = np.einsum("nd,kad->kna", x, slope[step])
            best = _lower(values, tried[step], self.caution).argmax(axis=1)
            after = values[:, np.arange(n), best]
        return Policy(slope, tried, self.caution)


@dataclass(frozen=True, slots=True)
class Policy:
    """Chooses the action with the highest lower bound. ``slope`` (steps, models, actions, d + 1)."""

    slope: Floats
    tried: np.ndarray
    caution: float

    def choose(self, state: Floats, step: int) -> Longs:
        """(n,) actions for ``state`` (n, d) at a step, from 0."""
        values = np.einsum("nd,kad->kna", _with_one(state), self.slope[step])
        chosen: Longs = _lower(values, self.tried[step], self.caution).argmax(axis=1)
        return chosen


def _lower(values: Floats, tried: np.ndarray, caution: float) -> Floats:
    """(n, actions) ensemble mean less ``caution`` deviations; minus infinity where hardly tried."""
    low: Floats = values.mean(axis=0) - caution * values.std(axis=0)
    low[:, ~tried] = -np.inf
    return low


def _with_one(state: Floats) -> Floats:
    return np.concatenate([np.ones((len(state), 1)), state], axis=1)
