"""Whether looking ahead pays, judged on journeys that the policies were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from opportune.experiments.sequences.fitted_q import FittedQ, Policy
from opportune.experiments.sequences.journeys import Floats, Journeys


@dataclass(frozen=True, slots=True)
class Verdict:
    """Rewards per journey: ``logged`` as they were, ``myopic`` and ``ahead`` as estimated for the policies;
    ``gain`` is ahead less myopic with its interval. ``policy`` is fitted on everything: the one that looks
    ahead only where the interval says that it pays."""

    logged: float
    myopic: float
    ahead: float
    gain: float
    low: float
    high: float
    looks_ahead: bool
    policy: Policy
    sentence: str


def judge(journeys: Journeys, learner: FittedQ | None = None, *, confidence: float = 0.95) -> Verdict:
    """Fit both on half of the journeys and weigh the other half, then the other way round (per-decision
    self-normalized importance weights, Precup et al. 2000). 2 x 3 fits."""
    ahead = learner or FittedQ()
    myopic = FittedQ(False, ahead.caution, ahead.least, ahead.models, ahead.ridge, ahead.seed)
    half = np.random.default_rng(ahead.seed).permutation(len(journeys)) % 2
    terms: dict[str, list[Floats]] = {"ahead": [], "myopic": []}
    for fold in (0, 1):
        train, test = journeys.some(np.flatnonzero(half != fold)), journeys.some(np.flatnonzero(half == fold))
        for name, each in (("ahead", ahead), ("myopic", myopic)):
            terms[name].append(weighed(test, each.fit(train)))
    each_ahead, each_myopic = (np.concatenate(terms[name]) for name in ("ahead", "myopic"))
    difference = each_ahead - each_myopic
    gain = float(difference.mean())
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * float(
        difference.std(ddof=1) / np.sqrt(len(journeys))
    )
    pays = gain - reach > 0
    return Verdict(
        logged=float(journeys.reward.sum(axis=1).mean()),
        myopic=float(each_myopic.mean()),
        ahead=float(each_ahead.mean()),
        gain=gain,
        low=gain - reach,
        high=gain + reach,
        looks_ahead=pays,
        policy=(ahead if pays else myopic).fit(journeys),
        sentence=(
            f"looking ahead pays: {gain:+.4g} per journey ({gain - reach:+.4g} to {gain + reach:+.4g})"
            if pays
            else f"looking ahead is not shown to pay ({gain - reach:+.4g} to {gain + reach:+.4g} per "
            "journey): the best message of each moment is sent"
        ),
    )


def weighed(journeys: Journeys, policy: Policy) -> Floats:
    """(n,) terms whose mean estimates what the policy earns per journey: each step's reward counts as often
    as the policy would have come as far, weights normalized per step."""
    total = np.zeros(len(journeys))
    weight = np.ones(len(journeys))
    for step in range(journeys.action.shape[1]):
        same = policy.choose(journeys.state[:, step], step) == journeys.action[:, step]
        weight = weight * same / journeys.propensity[:, step]
        mean = weight.mean()
        if mean > 0:
            total += weight * journeys.reward[:, step] / mean
    return total
