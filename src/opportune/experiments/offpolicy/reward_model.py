"""What an action is worth in a context: the model behind the direct and the doubly robust estimators."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from opportune.experiments.offpolicy.log import Floats, Log, Longs

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_STEPS = 25
_TOLERANCE = 1e-8


class RewardModel(Protocol):
    """Expected rewards of every action. The estimators stay right when it is wrong, only less precise."""

    def fit(self, log: Log) -> None: ...

    def predict(self, context: Floats, position: Longs) -> Floats:
        """(n, n_actions)."""
        ...


class AdditiveRewards:
    """Penalized regression: a level per position, a slope per context column, an offset per action.

    Logistic when every reward is 0 or 1 (Newton's method), linear otherwise. ``penalty`` is the precision of
    a normal prior on slopes (of standardized columns) and offsets; positions are free. O(n k²) to fit, k the
    number of columns.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        self.penalty = penalty
        self._mean = self._scale = np.empty(0)
        self._level = self._slope = self._offset = np.empty(0)
        self._binary = True

    def fit(self, log: Log) -> None:
        self._mean = log.context.mean(axis=0)
        self._scale = np.asarray(log.context.std(axis=0), dtype=np.float64)
        self._scale[self._scale == 0] = 1.0
        p, d = log.n_positions, log.context.shape[1]
        design = np.zeros((len(log), p + d + log.n_actions))
        rows = np.arange(len(log))
        design[rows, log.position] = 1.0
        design[:, p : p + d] = (log.context - self._mean) / self._scale
        design[rows, p + d + log.action] = 1.0
        prior = np.full(design.shape[1], self.penalty)
        prior[:p] = 1e-6
        self._binary = bool(np.isin(log.reward, (0.0, 1.0)).all())
        beta = (_logistic if self._binary else _linear)(design, log.reward, prior)
        self._level, self._slope, self._offset = beta[:p], beta[p : p + d], beta[p + d :]

    def predict(self, context: Floats, position: Longs) -> Floats:
        base = self._level[position] + ((context - self._mean) / self._scale) @ self._slope
        score: Floats = base[:, None] + self._offset[None, :]
        return _sigmoid(score) if self._binary else score


def _linear(design: Floats, reward: Floats, prior: Floats) -> Floats:
    return np.linalg.solve(design.T @ design + np.diag(prior), design.T @ reward).astype(np.float64)


def _logistic(design: Floats, reward: Floats, prior: Floats) -> Floats:
    """Newton's method on the penalized likelihood, steps halved until it rises."""
    beta = np.zeros(design.shape[1])
    score = design @ beta
    value = _penalized(score, reward, beta, prior)
    for _ in range(_STEPS):
        chance = _sigmoid(score)
        slope = design.T @ (reward - chance) - prior * beta
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(prior)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-6:
            tried = beta + size * step
            score = design @ tried
            found = _penalized(score, reward, tried, prior)
            if found >= value:
                break
            size /= 2
        gained, value, beta = found - value, found, tried
        if gained < _TOLERANCE * abs(value):
            break
    return beta


def _penalized(score: Floats, reward: Floats, beta: Floats, prior: Floats) -> float:
    return float(reward @ score - np.logaddexp(0.0, score).sum() - 0.5 * (prior * beta**2).sum())


def _sigmoid(score: Floats) -> Floats:
    half: Floats = 0.5 * (1.0 + np.tanh(0.5 * score))
    return half


def chosen_penalty(log: Log, seed: int = 0, folds: int = 3) -> float:
    """The one of ``PENALTIES`` that predicts held-out rewards best (log loss, or squared error)."""
    fold = np.random.default_rng(seed).permutation(len(log)) % folds
    losses = []
    for penalty in PENALTIES:
        total = 0.0
        for k in range(folds):
            model = AdditiveRewards(penalty)
            model.fit(_at_least_one_of_each_position(log, fold != k))
            held = log.take(np.flatnonzero(fold == k))
            guess = model.predict(held.context, held.position)[np.arange(len(held)), held.action]
            total += _loss(held.reward, guess, model._binary)
        losses.append(total)
    return PENALTIES[int(np.argmin(losses))]


def _loss(reward: Floats, guess: Floats, binary: bool) -> float:
    if not binary:
        return float(((reward - guess) ** 2).sum())
    guess = np.clip(guess, 1e-12, 1 - 1e-12)
    return float(-(reward * np.log(guess) + (1 - reward) * np.log1p(-guess)).sum())


def _at_least_one_of_each_position(log: Log, kept: np.ndarray) -> Log:
    """The rounds kept, and the first of the last position, so that every fold knows how many there are."""
    kept = kept.copy()
    kept[int(log.position.argmax())] = True
    return log.take(np.flatnonzero(kept))


def cross_fitted(
    log: Log, model: RewardModel, target: Floats, folds: int = 3, seed: int = 0
) -> tuple[Floats, Floats]:
    """(predicted reward of the logged action, expected predicted reward under the target), each (n,).

    Every round is predicted by a model that did not see it (``target`` is (n, n_actions)). With fewer rounds
    than folds one model sees all.
    """
    n = len(log)
    fold = np.random.default_rng(seed).permutation(n) % max(1, folds)
    logged, expected = np.empty(n), np.empty(n)
    for k in range(int(fold.max()) + 1):
        held = np.flatnonzero(fold == k)
        model.fit(log if folds <= 1 or n <= folds else _at_least_one_of_each_position(log, fold != k))
        guess = model.predict(log.context[held], log.position[held])
        logged[held] = guess[np.arange(len(held)), log.action[held]]
        expected[held] = (guess * target[held]).sum(axis=1)
    return logged, expected
