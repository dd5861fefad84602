"""A bandit as faces show it: traffic over time, what is believed of every arm, what learning has cost."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from opportune.clock import Millis
from opportune.experiments.bandits.guard import Standing
from opportune.experiments.bandits.posterior import Learnt
from opportune.experiments.bandits.running import Bandits
from opportune.experiments.bandits.traffic import Traffic

REACH = 1.959964
"""Deviations either way of a 95 % interval."""


class ArmPicture(msgspec.Struct, frozen=True):
    """``share`` is what a decision draws from now, for a contextual bandit where every feature is 0; ``mean``
    with ``low`` and ``high`` the 95 % of its posterior there; ``trials`` and ``rewards`` are weighted by how
    much of them is remembered; ``decisions`` counts all that showed it (first)."""

    arm: str
    share: float
    mean: float
    low: float
    high: float
    trials: float
    rewards: float
    decisions: int


class Picture(msgspec.Struct, frozen=True):
    """``traffic`` has, per piece of equally many decisions, its first moment and every arm's share.
    ``regret`` estimates the rewards that always showing the best arm would have brought beyond what was
    shown, by the posteriors' means; the true one is known to the simulator alone."""

    arms: list[ArmPicture]
    traffic: list[tuple[Millis, dict[str, float]]]
    decisions: int
    waiting: int
    regret: float
    mode: str
    standing: dict[str, float] | None


def picture(bandits: Bandits, name: str, now: Millis) -> Picture:
    """Raises KeyError for an experiment without a bandit."""
    one, known = bandits.running[name], bandits.known
    chooser = bandits.chooser(name, now)
    nothing = (0.0,) * len(one.bandit.features)
    shares, beliefs = chooser.probabilities(nothing), chooser.beliefs(nothing)
    traffic = known.traffic.get(name) or Traffic(pieces=[])
    shown = {arm: sum(piece.shown.get(arm, 0) for piece in traffic.pieces) for arm in one.bandit.arms}
    sums = (known.learnt.get(name) or Learnt(arms={})).arms
    arms = []
    for i, arm in enumerate(one.bandit.arms):
        mean, reach = float(beliefs.mean[i]), REACH * float(beliefs.deviation[i])
        own = sums.get(arm)
        arms.append(
            ArmPicture(
                arm,
                float(shares[i]),
                mean,
                max(mean - reach, 0.0) if one.bandit.binary else mean - reach,
                min(mean + reach, 1.0) if one.bandit.binary else mean + reach,
                own.trials if own else 0.0,
                own.reward if own else 0.0,
                shown[arm],
            )
        )
    best = float(np.max(beliefs.mean))
    guard, standing = one.allocation.guard, known.standing.get(name) or Standing()
    return Picture(
        arms,
        traffic.shares(one.bandit.arms),
        sum(shown.values()),
        len(known.waiting.get(name, {})),
        sum((best - arm.mean) * arm.decisions for arm in arms),
        chooser.mode,
        None if guard is None else _standing(standing, guard.alpha),
    )


def _standing(standing: Standing, alpha: float) -> dict[str, Any]:
    upper = standing.upper(alpha)
    return {
        "watched": standing.watched,
        "agreement": standing.agreed / standing.watched if standing.watched else 0.0,
        "served": standing.served,
        "gain_per_decision": standing.gain / standing.served if standing.served else 0.0,
        "gain_at_most": upper if np.isfinite(upper) else None,
    }
