"""S-, T-, X- and DR-learners: the effect of a treatment on each person, over any regression.

Names after Künzel et al. 2019 (PNAS, arXiv 1706.03461) and Kennedy 2023 (arXiv 2004.14497). The treatment is
randomized with a known probability, by default the share of the treated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.experiments.uplift.metrics import Floats
from opportune.experiments.uplift.trees import Fitted, Regression


class Term(NamedTuple):
    """A fitted regression's share in an uplift; ``treated`` is the treatment's column, where it reads one."""

    weight: float
    fitted: Fitted
    treated: float | None = None


class Learner(Protocol):
    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        """``context`` (n, d), ``treated`` (n,) 0 or 1, ``outcome`` (n,)."""
        ...

    def uplift(self, context: Floats) -> Floats:
        """(n,) how much more is expected with the treatment than without."""
        ...


class Linear(Learner, Protocol):
    """A learner whose uplift is a weighted sum of regressions: what is served without the learner."""

    def terms(self) -> list[Term]: ...


def summed(terms: Sequence[Term], context: Floats) -> Floats:
    """(n,) the uplift that these terms make."""
    total = np.zeros(len(context))
    for weight, fitted, treated in terms:
        known = context if treated is None else np.column_stack([context, np.full(len(context), treated)])
        total += weight * fitted.predict(known)
    return total


class SLearner:
    """One model with the treatment as a column; shrinks towards no effect."""

    def __init__(self, regression: Regression) -> None:
        self.regression = regression
        self._fitted: Fitted

    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        _both_arms(treated)
        self._fitted = self.regression.fit(np.column_stack([context, treated]), outcome)

    def terms(self) -> list[Term]:
        return [Term(1.0, self._fitted, 1.0), Term(-1.0, self._fitted, 0.0)]

    def uplift(self, context: Floats) -> Floats:
        return summed(self.terms(), context)


class TLearner:
    """A model per arm, and their difference; noisy where the arms' errors differ."""

    def __init__(self, regression: Regression) -> None:
        self.regression = regression
        self._with: Fitted
        self._without: Fitted

    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        on = _both_arms(treated)
        self._with = self.regression.fit(context[on], outcome[on])
        self._without = self.regression.fit(context[~on], outcome[~on])

    def expected(self, context: Floats) -> tuple[Floats, Floats]:
        """(with treatment, without)."""
        return self._with.predict(context), self._without.predict(context)

    def terms(self) -> list[Term]:
        return [Term(1.0, self._with), Term(-1.0, self._without)]

    def uplift(self, context: Floats) -> Floats:
        return summed(self.terms(), context)


class XLearner:
    """Each arm's effects imputed with the other arm's model, then regressed; good when one arm is small."""

    def __init__(self, outcomes: Regression, effects: Regression) -> None:
        self.outcomes, self.effects = outcomes, effects
        self._share = 0.5
        self._on_treated: Fitted
        self._on_control: Fitted

    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        on = _both_arms(treated)
        with_it = self.outcomes.fit(context[on], outcome[on])
        without = self.outcomes.fit(context[~on], outcome[~on])
        self._share = float(on.mean())
        self._on_treated = self.effects.fit(context[on], outcome[on] - without.predict(context[on]))
        self._on_control = self.effects.fit(context[~on], with_it.predict(context[~on]) - outcome[~on])

    def terms(self) -> list[Term]:
        return [Term(self._share, self._on_control), Term(1 - self._share, self._on_treated)]

    def uplift(self, context: Floats) -> Floats:
        return summed(self.terms(), context)


class DRLearner:
    """Doubly robust scores of every person, cross-fitted, then regressed."""

    def __init__(self, outcomes: Regression, effects: Regression, folds: int = 3, seed: int = 0) -> None:
        self.outcomes, self.effects = outcomes, effects
        self.folds, self.seed = folds, seed
        self._effect: Fitted

    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        scores = doubly_robust_scores(context, treated, outcome, self.outcomes, self.folds, self.seed)
        self._effect = self.effects.fit(context, scores)

    def terms(self) -> list[Term]:
        return [Term(1.0, self._effect)]

    def uplift(self, context: Floats) -> Floats:
        return summed(self.terms(), context)


class Mean:
    """The average of several learners' uplift: calmer than any of them."""

    def __init__(self, learners: Sequence[Linear]) -> None:
        self.learners = learners

    def fit(self, context: Floats, treated: Floats, outcome: Floats) -> None:
        for learner in self.learners:
            learner.fit(context, treated, outcome)

    def terms(self) -> list[Term]:
        share = 1 / len(self.learners)
        return [term._replace(weight=share * term.weight) for each in self.learners for term in each.terms()]

    def uplift(self, context: Floats) -> Floats:
        return summed(self.terms(), context)


def doubly_robust_scores(
    context: Floats, treated: Floats, outcome: Floats, outcomes: Regression, folds: int = 3, seed: int = 0
) -> Floats:
    """(n,) unbiased, noisy effects of single people; their mean over any group is its effect.

    Outcome models never saw the person (they were fitted on the other folds).
    """
    on = _both_arms(treated)
    share = float(on.mean())
    fold = np.random.default_rng(seed).permutation(len(outcome)) % folds
    scores = np.empty(len(outcome))
    for k in range(folds):
        held = fold == k
        arms = TLearner(outcomes)
        arms.fit(context[~held], treated[~held], outcome[~held])
        with_it, without = arms.expected(context[held])
        scores[held] = _robust(with_it, without, treated[held], outcome[held], share)
    return scores


def scores_by(arms: TLearner, context: Floats, treated: Floats, outcome: Floats) -> Floats:
    """The same for people that the fitted outcome models ``arms`` have not seen."""
    share = float(_both_arms(treated).mean())
    with_it, without = arms.expected(context)
    return _robust(with_it, without, treated, outcome, share)


def _robust(with_it: Floats, without: Floats, t: Floats, y: Floats, share: float) -> Floats:
    return with_it - without + t * (y - with_it) / share - (1 - t) * (y - without) / (1 - share)


def _both_arms(treated: Floats) -> npt.NDArray[np.bool_]:
    on: npt.NDArray[np.bool_] = treated == 1
    if on.all() or not on.any():
        raise InvalidRequest(
            "effects need people with the treatment and people without",
            seen=f"{int(on.sum())} of {len(on)} treated",
            where="treated",
        )
    return on
