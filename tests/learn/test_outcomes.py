"""Chances of what a candidate leads to, from the touches that followed."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.learn.candidate_rows import Rows, cases_of
from opportune.learn.outcomes import outcome_labels, outcome_report, train_outcomes
from opportune.learn.ranker_training import RankerConfig
from opportune.recommend.rank_features import COLUMNS
from opportune.recommend.source import Interactions

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")


def touches(*rows: tuple[int, int, int]) -> Interactions:
    session, item, kind = map(np.array, zip(*rows, strict=True))
    return Interactions(
        session.astype(np.int64),
        item.astype(np.int32),
        kind.astype(np.int8),
        np.arange(len(rows), dtype=np.int64),
    )


def test_a_candidate_is_credited_with_what_followed_in_its_session_only() -> None:
    view, cart, buy = 0, 1, 2
    cases = cases_of(
        touches((1, 5, view), (1, 6, view), (1, 5, cart), (1, 5, buy), (2, 6, view), (2, 7, view))
    )
    # Cases: session 1 before 6, before cart of 5, before purchase of 5; session 2 before 7.
    items = np.tile(np.array([5, 6, 7], np.int32), 4)
    start = np.arange(0, 13, 3)
    hit = items == np.repeat(cases.touches.item[cases.at], 3)
    rows = Rows(np.zeros((12, COLUMNS), np.float32), items, hit, start)
    labels = outcome_labels(rows, cases)
    assert labels["click"].reshape(4, 3).tolist() == [
        [False, True, False], [True, False, False], [True, False, False], [False, False, True],
    ]  # fmt: skip
    assert labels["cart"].reshape(4, 3)[:, 0].tolist() == [True, True, False, False]
    assert labels["buy"].reshape(4, 3)[:, 0].tolist() == [True, True, True, False]
    assert not labels["cart"].reshape(4, 3)[:, 1:].any()


def test_forests_say_probabilities_and_rare_outcomes_have_none() -> None:
    rng = np.random.default_rng(1)
    n, per = 300, 10
    features = np.full((n * per, COLUMNS), np.nan, np.float32)
    features[:, 0] = rng.random(n * per)
    hit = rng.random(n * per) < 0.3 * features[:, 0]
    made = touches(*[(c // 2, c % 2, 0) for c in range(2 * n)])
    cases = cases_of(made)
    rows = Rows(features, np.full(n * per, 9, np.int32), hit, np.arange(0, n * per + 1, per))
    models = train_outcomes(rows, cases, RankerConfig(trees=15, leaves=4, least_rows=50), threads=1)
    assert set(models) == {"click"}
    told = outcome_report(models, rows, cases)["click"]
    assert told["base_rate"] == pytest.approx(0.15, abs=0.02)
    assert told["error"] < 0.03
    assert told["auc"] > 0.6
    assert told["log_loss"] < told["log_loss_of_base_rate"]
