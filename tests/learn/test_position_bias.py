"""Clicks that depend on the place in the list, as the simulator's shoppers look at places: who wins is
known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from opportune.learn.candidate_rows import Rows
from opportune.learn.ranker_training import RankerConfig, train_trees
from opportune.recommend.rank_features import COLUMNS
from opportune.recommend.tree_scorer import TreeScorer
from opportune.simulate.population import Population
from opportune.simulate.settings import Settings
from opportune.simulate.truth import Truth

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")

LIKED, LOGGED = 0, 1
"""The column that says how much an item is liked, and the one that the old ranking went by."""
PLACES = 10
SMALL = RankerConfig(trees=40, leaves=7, least_rows=50, column_share=1.0)


def clicks(lists: int, looked_at: list[float]) -> tuple[Rows, np.ndarray]:
    """Lists in the order of something nobody cares about (and some chance); a click needs a look and a
    like."""
    rng = np.random.default_rng(1)
    features, hit = [], []
    for _ in range(lists):
        x = np.full((PLACES, COLUMNS), np.nan, np.float32)
        x[:, [LIKED, LOGGED]] = rng.normal(size=(PLACES, 2))
        x = x[np.argsort(-(x[:, LOGGED] + 0.7 * rng.normal(size=PLACES)))]
        likes = 1 / (1 + np.exp(-(1.5 * x[:, LIKED] - 0.5)))
        features.append(x)
        hit.append(rng.random(PLACES) < likes * looked_at)
    rows = Rows(
        np.concatenate(features),
        np.zeros(lists * PLACES, np.int32),
        np.concatenate(hit),
        np.arange(0, lists * PLACES + 1, PLACES),
    )
    return rows, np.tile(np.arange(PLACES, dtype=np.int32), lists)


def agreement(text: str) -> float:
    """Of the order of new items with how much they are liked."""
    x = np.full((COLUMNS, 2000), np.nan, np.float32)
    x[[LIKED, LOGGED]] = np.random.default_rng(2).normal(size=(2, 2000))
    return float(spearmanr(TreeScorer.from_text(text).score(x), x[LIKED]).statistic)


def test_who_knows_the_places_learns_what_is_liked() -> None:
    truth = Truth(Population(Settings(shoppers=10, position=0.7), 1))
    rows, place = clicks(1500, [truth.looked_at(at) for at in range(PLACES)])
    naive = agreement(train_trees(rows, SMALL, threads=1))
    unbiased = agreement(train_trees(rows, SMALL, place=place, threads=1))
    assert naive < 0.75
    assert unbiased > 0.88


def test_where_every_place_is_looked_at_nothing_is_lost() -> None:
    rows, place = clicks(600, [1.0] * PLACES)
    naive = agreement(train_trees(rows, SMALL, threads=1))
    assert agreement(train_trees(rows, SMALL, place=place, threads=1)) > naive - 0.03
