"""Persuadables, sure things, lost causes, sleeping dogs: and the rule that treats only the first.

People are cut into groups of equal size by predicted uplift. What decides is not the prediction but what
happened to a group: the mean of its doubly robust scores, with an interval that allows for asking about every
group at once. Predictions must come from a model that was chosen and fitted on other people, else groups look
good by chance. Cross-fitting is not enough: folds teach each other's models, and with no effect at all some
group was called persuadable or sleeping dog in 10 % of the trials instead of 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.experiments.uplift.metrics import Floats, Longs

Audience = Literal["persuadable", "sure thing", "lost cause", "sleeping dog"]


@dataclass(frozen=True, slots=True)
class Group:
    """People whose predicted uplift is at least ``least``, None for the last group; ``without`` is their mean
    outcome untreated."""

    least: float | None
    people: int
    effect: float
    low: float
    high: float
    without: float
    audience: Audience


@dataclass(frozen=True, slots=True)
class Audiences:
    """Groups by falling predicted uplift."""

    groups: tuple[Group, ...]

    def group(self, predicted: Floats) -> Longs:
        """(n,) the number of each person's group, 0 the most promising."""
        cuts = np.array([group.least for group in self.groups if group.least is not None])[::-1]
        above = np.searchsorted(cuts, predicted, side="right")
        return (len(self.groups) - 1 - above).astype(np.int64)

    def audience(self, predicted: Floats) -> list[Audience]:
        return [self.groups[number].audience for number in self.group(predicted).tolist()]

    def treat(self, predicted: Floats) -> npt.NDArray[np.bool_]:
        """(n,) whether to treat: where the group's interval lies above the least worthwhile effect."""
        wanted = np.array([group.audience == "persuadable" for group in self.groups])
        chosen: npt.NDArray[np.bool_] = wanted[self.group(predicted)]
        return chosen


def audiences(
    predicted: Floats,
    scores: Floats,
    outcome: Floats,
    treated: Floats,
    *,
    groups: int = 10,
    confidence: float = 0.95,
    worthwhile: float = 0.0,
) -> Audiences:
    """Cut, measured and named; fewer groups where many people are predicted alike. ``scores`` are doubly
    robust scores; ``worthwhile`` is the effect that pays for the treatment. A group is persuadable when
    its interval lies above that, a sleeping dog when it lies below zero; else a sure thing if it does at
    least as well untreated as everybody, a lost cause if not.
    """
    n = len(predicted)
    if groups < 1 or n < 2 * groups:
        raise InvalidRequest(
            "a group needs at least two people",
            seen=n,
            where="predicted",
            remedy=f"ask for fewer than {groups}",
        )
    order = np.argsort(predicted, kind="stable")[::-1]
    cut = _cuts(predicted[order], groups)
    reach = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * groups))
    untreated = float(outcome[treated == 0].mean())
    found: list[Group] = []
    for rows in np.split(order, cut):
        effect = float(scores[rows].mean())
        error = float(scores[rows].std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else float("inf")
        low, high = effect - reach * error, effect + reach * error
        control = rows[treated[rows] == 0]
        without = float(outcome[control].mean()) if len(control) else untreated
        found.append(
            Group(
                least=None if len(found) == len(cut) else float(predicted[rows[-1]]),
                people=len(rows),
                effect=effect,
                low=low,
                high=high,
                without=without,
                audience=_named(low, high, without >= untreated, worthwhile),
            )
        )
    return Audiences(tuple(found))


def _cuts(falling: Floats, groups: int) -> Longs:
    """Where groups end, as near to equal sizes as people who are predicted alike can stay together."""
    changes = np.flatnonzero(np.diff(falling)) + 1
    if not len(changes):
        return changes
    wanted = len(falling) * np.arange(1, groups) / groups
    return np.unique(changes[np.abs(changes[:, None] - wanted).argmin(axis=0)])


def _named(low: float, high: float, responsive: bool, worthwhile: float) -> Audience:
    if low > worthwhile:
        return "persuadable"
    if high < 0:
        return "sleeping dog"
    return "sure thing" if responsive else "lost cause"
