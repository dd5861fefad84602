"""Gradient-boosted trees under the learners: LightGBM, imported when first used (extra ``learn``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from opportune.errors import NotInstalled
from opportune.experiments.uplift.metrics import Floats


class Fitted(Protocol):
    def predict(self, context: Floats) -> Floats:
        """(n,) expected outcomes."""
        ...


class Regression(Protocol):
    """What a learner fits: expected outcomes given the context."""

    def fit(self, context: Floats, outcome: Floats) -> Fitted: ...


@dataclass(frozen=True, slots=True)
class Trees:
    """LightGBM with few, small, slow trees: effects are faint next to outcomes, and deep trees drown them.

    ``binary`` fits log loss and predicts probabilities; else squared error. Several ``bags`` are grown on
    halves of the people and averaged.
    """

    rounds: int = 100
    leaves: int = 4
    rate: float = 0.03
    smallest_leaf: int = 300
    bags: int = 1
    binary: bool = False
    seed: int = 0
    threads: int = 1

    def fit(self, context: Floats, outcome: Floats) -> Fitted:
        lightgbm = _lightgbm()
        boosters = []
        for bag in range(self.bags):
            rng = np.random.default_rng(self.seed + bag)
            rows = np.arange(len(outcome))
            if self.bags > 1:
                rows = np.sort(rng.choice(len(outcome), (len(outcome) + 1) // 2, replace=False))
            data = lightgbm.Dataset(context[rows], outcome[rows], free_raw_data=True)
            boosters.append(lightgbm.train(self._parameters(len(rows)), data, num_boost_round=self.rounds))
        return Grown(boosters)

    def _parameters(self, n: int) -> dict[str, Any]:
        return {
            "objective": "binary" if self.binary else "regression",
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": max(1, min(self.smallest_leaf, n // 10)),
            "seed": self.seed,
            "deterministic": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }


class Grown:
    """What :class:`Trees` grew."""

    def __init__(self, boosters: list[Any]) -> None:
        self._boosters = boosters

    def predict(self, context: Floats) -> Floats:
        total = sum(np.asarray(each.predict(context), dtype=np.float64) for each in self._boosters)
        return np.asarray(total / len(self._boosters), dtype=np.float64)

    def texts(self) -> list[str]:
        """LightGBM's text model of every bag; the prediction is their mean."""
        return [each.model_to_string() for each in self._boosters]


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise NotInstalled(
            "uplift over trees needs LightGBM, which is not installed here",
            remedy="pip install 'opportune[learn]'",
        ) from error
    return lightgbm
