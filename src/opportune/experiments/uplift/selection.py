"""Which learner to trust, decided on the people it will be fitted on and on no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from opportune.experiments.uplift.learners import DRLearner, Learner, Linear, SLearner, TLearner, XLearner
from opportune.experiments.uplift.linear import Lines
from opportune.experiments.uplift.metrics import Floats, Longs, Measure, qini
from opportune.experiments.uplift.trees import Regression, Trees

AVERAGE = "average"


def standard_learners(binary: bool, *, seed: int = 0, threads: int = 1) -> dict[str, Callable[[], Linear]]:
    """S-, T-, X- and DR-learners over small trees, X and DR with effects that are sums over single columns
    (stumps), T and DR with effects that are linear; ``binary`` when outcomes are 0 or 1."""
    outcomes: Regression = Trees(binary=binary, seed=seed, threads=threads)
    effects: Regression = Trees(seed=seed, threads=threads)
    stumps: Regression = Trees(leaves=2, seed=seed, threads=threads)
    lines: Regression = Lines()
    return {
        "s": lambda: SLearner(outcomes),
        "t": lambda: TLearner(outcomes),
        "x": lambda: XLearner(outcomes, effects),
        "dr": lambda: DRLearner(outcomes, effects, seed=seed),
        "x, stumps": lambda: XLearner(outcomes, stumps),
        "dr, stumps": lambda: DRLearner(outcomes, stumps, seed=seed),
        "t, linear": lambda: TLearner(lines),
        "dr, linear": lambda: DRLearner(outcomes, lines, seed=seed),
    }


@dataclass(frozen=True, slots=True)
class Choice:
    """``scores`` has the mean over held-out folds for every learner and for their average."""

    name: str
    scores: dict[str, float]


def cross_fitted(
    make: Callable[[], Learner], context: Floats, treated: Floats, outcome: Floats, fold: Longs
) -> Floats:
    """(n,) uplift of everybody, predicted by a learner fitted on the other folds."""
    predicted = np.empty(len(outcome))
    for k in range(int(fold.max()) + 1):
        held = fold == k
        learner = make()
        learner.fit(context[~held], treated[~held], outcome[~held])
        predicted[held] = learner.uplift(context[held])
    return predicted


def choose(
    learners: Mapping[str, Callable[[], Learner]],
    context: Floats,
    treated: Floats,
    outcome: Floats,
    *,
    measure: Measure = qini,
    folds: int = 4,
    repeats: int = 2,
    seed: int = 0,
) -> Choice:
    """The learner, or the average of all (``AVERAGE``), that does best on held-out folds."""
    scores: dict[str, list[float]] = {}
    for repeat in range(repeats):
        fold = np.random.default_rng(seed + repeat).permutation(len(outcome)) % folds
        found = {name: cross_fitted(make, context, treated, outcome, fold) for name, make in learners.items()}
        found[AVERAGE] = np.mean(list(found.values()), axis=0)
        for name, predicted in found.items():
            scores.setdefault(name, []).extend(
                measure(outcome[fold == k], predicted[fold == k], treated[fold == k]) for k in range(folds)
            )
    means = {name: float(np.mean(each)) for name, each in scores.items()}
    best = max(means, key=lambda name: means[name])
    return Choice(best, means)
