"""A linear regression under the learners: for effects that change by degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opportune.experiments.uplift.metrics import Floats


@dataclass(frozen=True, slots=True)
class Line:
    """``base`` and a slope for each column, whose missing values (NaN) count as ``middle`` (d,). What lies
    beyond the values that it was fitted on, ``low`` to ``high``, counts as the nearest of them: a line knows
    nothing of what it has not seen, least of all of times since."""

    base: float
    slope: Floats
    middle: Floats
    low: Floats
    high: Floats

    def predict(self, context: Floats) -> Floats:
        known = np.where(np.isnan(context), self.middle, context).clip(self.low, self.high)
        predicted: Floats = self.base + (known - self.middle) @ self.slope
        return predicted


@dataclass(frozen=True, slots=True)
class Lines:
    """Ridge regression on standardized columns; ``ridge`` is in rows that say nothing depends on anything."""

    ridge: float = 100.0

    def fit(self, context: Floats, outcome: Floats) -> Line:
        there = ~np.isnan(context)
        count = np.maximum(there.sum(axis=0), 1)
        middle = np.where(there, context, 0.0).sum(axis=0) / count
        known = np.where(there, context, middle)
        spread = known.std(axis=0)
        spread[spread == 0] = 1.0
        z = (known - middle) / spread
        base = float(outcome.mean())
        weight = np.linalg.solve(z.T @ z + self.ridge * np.eye(z.shape[1]), z.T @ (outcome - base))
        return Line(base, weight / spread, middle, known.min(axis=0), known.max(axis=0))
