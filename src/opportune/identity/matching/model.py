"""Match weights: how much each level of agreement of each column says that two records are one person.

Fellegi and Sunter (JASA 1969): a pair's weight is the logarithm of the prior odds plus, for each column, the
logarithm of m / u, the chance of that level among pairs of one person and among pairs of two. Agreement on a
rare value says more than on a common one: the u of an exact agreement is that value's own (Winkler, 1989;
as in Splink), estimated leaving the record itself out.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.identity.matching.columns import Column
from opportune.identity.matching.comparisons import Levels, Pairs, labels, levels_of
from opportune.identity.matching.records import Records

Weights = npt.NDArray[np.float64]


class ColumnWeights(msgspec.Struct, frozen=True):
    """``m[level]`` and ``u[level]`` sum to 1 each; level 0 is "different". ``shares`` are the values that
    people share more often than the average value, with the share of other people who have them."""

    column: Column
    m: tuple[float, ...]
    u: tuple[float, ...]
    shares: dict[str, float] = {}

    def weight(self, level: int) -> float:
        """log2(m / u)."""
        return math.log2(self.m[level] / self.u[level])


class MatchModel(msgspec.Struct, frozen=True):
    """``prior`` is the chance that two records taken at random are one person; ``trained_on`` the number of
    records. Plain data: it is kept, shown and compared as JSON."""

    columns: tuple[ColumnWeights, ...]
    prior: float
    trained_on: int
    rounds: int

    def table(self) -> list[dict[str, Any]]:
        """Every level of every column with its m, u and weight in bits: the model, whole."""
        return [
            {"column": c.column.name, "level": label, "m": c.m[i], "u": c.u[i], "weight": c.weight(i)}
            for c in self.columns
            for i, label in reversed([*enumerate(labels(c.column))])
        ]

    @property
    def prior_weight(self) -> float:
        """log2 of the prior odds."""
        return math.log2(self.prior / (1 - self.prior))


def weights(model: MatchModel, records: Records, left: Pairs, right: Pairs) -> Weights:
    """(pairs,) log2 odds that both are one person; 0 is even. 1 us a pair and column at most."""
    parts = contributions(model, records, left, right)
    total: Weights = parts.sum(axis=0) + model.prior_weight
    return total


def contributions(model: MatchModel, records: Records, left: Pairs, right: Pairs) -> Weights:
    """(columns, pairs) the evidence of each column in bits; 0 where one of the two has no value."""
    levels = levels_of(records, left, right)
    found = np.zeros(levels.shape)
    for c, column in enumerate(model.columns):
        known = np.array([*(column.weight(i) for i in range(len(column.m))), 0.0])
        found[c] = known[levels[c]]
        if column.shares:
            found[c] += rarity(column, records, c, levels, left)
    return found


def rarity(column: ColumnWeights, records: Records, c: int, levels: Levels, left: Pairs) -> Weights:
    """(pairs,) what an exact agreement on a value that many or few people have adds or takes."""
    top = len(column.m) - 1
    adjust: Weights = np.zeros(levels.shape[1])
    exact = np.flatnonzero(levels[c] == top)
    if not len(exact):
        return adjust
    codes, where = np.unique(records.codes(c)[left[exact]], return_inverse=True)
    average, rare, values = column.u[top], column.shares.get("", column.u[top]), records.values[c]
    share = np.array([column.shares.get(values[i], rare) for i in codes.tolist()])
    adjust[exact] = np.log2(average / share)[where]
    return adjust


def probability(weight: Weights | float) -> Weights | float:
    """The probability of a weight in bits."""
    return 1 / (1 + np.exp2(-weight))


def waterfall(model: MatchModel, records: Records, left: int, right: int) -> list[dict[str, Any]]:
    """How one pair's weight comes about: the prior, then every column with both values, the level and the
    bits it adds, and the sum so far."""
    a, b = np.array([left]), np.array([right])
    levels = levels_of(records, a, b)[:, 0]
    bits = contributions(model, records, a, b)[:, 0]
    total = model.prior_weight
    steps: list[dict[str, Any]] = [
        {"column": "", "level": "two people at random", "bits": total, "sum": total}
    ]
    for c, column in enumerate(model.columns):
        total += float(bits[c])
        level = "no value" if levels[c] < 0 else labels(column.column)[levels[c]]
        steps.append(
            {
                "column": column.column.name, "left": records.row(left)[c], "right": records.row(right)[c],
                "level": level, "bits": float(bits[c]), "sum": total,
            }
        )  # fmt: skip
    return steps
