"""Uplift served: how much a treatment changes one person, and what the trial showed of people like them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition
from opportune.experiments.uplift.audiences import Audiences, Group, audiences
from opportune.experiments.uplift.learners import Linear, Mean, TLearner, scores_by
from opportune.experiments.uplift.linear import Line
from opportune.experiments.uplift.metrics import Floats, bootstrap, qini
from opportune.experiments.uplift.selection import AVERAGE, choose, standard_learners
from opportune.experiments.uplift.trees import Grown, Trees
from opportune.learn.propensity import Matrix, columns_of, varying, words_of
from opportune.recommend.tree_scorer import TreeScorer

FEWEST = 200
"""People in either arm without which nothing is learnt."""
LEARNT_FROM = 0.5
"""The share of the people that a model learns from; what happened to its groups is asked of the others."""
PEOPLE_PER_GROUP = 400
MOST_GROUPS = 10


class Slope(msgspec.Struct, frozen=True):
    """A :class:`~opportune.experiments.uplift.linear.Line` as JSON has it."""

    base: float
    slope: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Part(msgspec.Struct, frozen=True):
    """``weight`` times what LightGBM's text model says, or without one what a line says. ``treated`` is what
    it reads in its last column, where it has one for the treatment."""

    weight: float
    forest: str = ""
    treated: float | None = None
    line: Slope | None = None


class UpliftModel(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that serving needs. ``features`` and ``words`` as in propensities. ``groups`` are people of
    the trial by falling predicted uplift, with what happened to them."""

    features: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    parts: tuple[Part, ...]
    groups: tuple[Group, ...]
    learner: str
    rows: int
    kind: str = "uplift"


class Uplift:
    """An :class:`UpliftModel` that answers. ``read`` costs some 20 us and 10 us for each part."""

    def __init__(self, model: UpliftModel) -> None:
        self.model = model
        self._parts = [(part, _scorer(part)) for part in model.parts]
        self._audiences = Audiences(model.groups)

    def read(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """``uplift`` is what is predicted for somebody with these features; ``effect`` with ``low`` and
        ``high`` what was measured of the people of the trial who were predicted alike, in the metric's unit;
        ``audience`` is theirs, and ``treat`` says whether their interval speaks for the treatment."""
        predicted = self.predict((features,))
        group = self.model.groups[int(self._audiences.group(predicted)[0])]
        return {
            "uplift": round(float(predicted[0]), 6),
            "effect": round(group.effect, 6),
            "low": round(group.low, 6),
            "high": round(group.high, 6),
            "audience": group.audience,
            "treat": group.audience == "persuadable",
        }

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """(n,) predicted uplift."""
        known = columns_of(rows, self.model.features, self.model.words)
        total = np.zeros(len(rows))
        for part, scorer in self._parts:
            columns = known
            if part.treated is not None:
                columns = np.vstack([known, np.full((1, len(rows)), part.treated, np.float32)])
            total += part.weight * scorer(columns)
        return total


def train_uplift(
    rows: Sequence[Mapping[str, Any]],
    treated: Sequence[bool] | npt.NDArray[np.bool_],
    outcome: Sequence[float] | Floats,
    *,
    worthwhile: float = 0.0,
    seed: int = 1,
    threads: int = 1,
) -> tuple[UpliftModel, dict[str, Any]]:
    """A model of one half of the randomized people, its groups measured on the other half, so that their
    intervals are of the model that is served; and what was measured there.

    ``rows`` are features as they were before the treatment, ``worthwhile`` the effect that pays for it. Needs
    the extra ``learn``. Raises :class:`InvalidDefinition` where there are too few people.
    """
    t, y = np.asarray(treated, np.float64), np.asarray(outcome, np.float64)
    least = int(min(t.sum(), len(t) - t.sum()))
    if least < FEWEST:
        raise InvalidDefinition(
            f"uplift needs at least {FEWEST} people in either arm",
            seen=least,
            remedy="let the experiment run on",
        )
    names = varying(rows)
    if not names:
        raise InvalidDefinition(
            "the people of the experiment are all alike: nothing was known of them before it",
            seen=len(rows),
            remedy="declare features over what people do before they come into it",
        )
    words = words_of(rows, names)
    x = columns_of(rows, names, words).T.astype(np.float64)
    binary = bool(np.isin(y, (0, 1)).all())
    made = standard_learners(binary, seed=seed, threads=threads)
    learnt = np.zeros(len(y), dtype=np.bool_)
    learnt[np.random.default_rng(seed).permutation(len(y))[: round(len(y) * LEARNT_FROM)]] = True
    part = x[learnt], t[learnt], y[learnt]
    chosen = choose(made, *part, seed=seed)
    learner: Linear = (
        made[chosen.name]() if chosen.name != AVERAGE else Mean([make() for make in made.values()])
    )
    outcomes = TLearner(Trees(binary=binary, seed=seed, threads=threads))
    learner.fit(*part)
    outcomes.fit(*part)
    x, t, y = x[~learnt], t[~learnt], y[~learnt]
    predicted = learner.uplift(x)
    cut = audiences(
        predicted,
        scores_by(outcomes, x, t, y),
        y,
        t,
        groups=max(2, min(MOST_GROUPS, len(y) // PEOPLE_PER_GROUP)),
        worthwhile=worthwhile,
    )
    model = UpliftModel(
        features=names,
        words=words,
        parts=served_parts(learner),
        groups=cut.groups,
        learner=chosen.name,
        rows=len(rows),
    )
    return model, measured(predicted, y, t, cut, seed)


def measured(
    predicted: Floats, outcome: Floats, treated: Floats, cut: Audiences, seed: int
) -> dict[str, Any]:
    """Of people that were not learnt from: their mean effect, the Qini coefficient with its interval, and how
    many are in each audience."""
    low, high = bootstrap(qini, outcome, predicted, treated, resamples=200, seed=seed)
    people: dict[str, int] = {}
    for group in cut.groups:
        people[group.audience] = people.get(group.audience, 0) + group.people
    return {
        "effect": round(float(outcome[treated == 1].mean() - outcome[treated == 0].mean()), 6),
        "treated": round(float(treated.mean()), 4),
        "qini": round(qini(outcome, predicted, treated), 4),
        "qini_interval": [round(low, 4), round(high, 4)],
        "audiences": people,
    }


def served_parts(learner: Linear) -> tuple[Part, ...]:
    found = []
    for weight, fitted, treated in learner.terms():
        if isinstance(fitted, Line):
            ends = (fitted.slope, fitted.middle, fitted.low, fitted.high)
            line = Slope(fitted.base, *(tuple(each.tolist()) for each in ends))
            found.append(Part(weight, treated=treated, line=line))
            continue
        assert isinstance(fitted, Grown)
        texts = fitted.texts()
        found += [Part(weight / len(texts), text, treated) for text in texts]
    return tuple(found)


def _scorer(part: Part) -> Callable[[Matrix], Floats]:
    """Columns (d, n) -> (n,)."""
    given = part.line
    if given is None:
        return TreeScorer.from_text(part.forest).score
    line = Line(given.base, *map(np.array, (given.slope, given.middle, given.low, given.high)))
    return lambda columns: line.predict(columns.T.astype(np.float64))
