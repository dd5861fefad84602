"""Training on sessions with a pattern that the candidate stage cannot put in order by itself."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.learn.candidate_rows import candidate_rows, cases_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.item_vectors import item_vectors
from opportune.learn.measures import measures
from opportune.learn.ranker_training import RankerConfig, best_size, ranks_of, train_trees
from opportune.learn.training import Slices, by_session, train_ranker
from opportune.recommend.rank_features import FEATURES, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import Interactions

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")

ITEMS = 60
SMALL = RankerConfig(trees=20, leaves=7, least_rows=5)


def history(seed: int, sessions: int) -> Interactions:
    """Walks among 60 items in which people keep going back to the first item, more than the stage expects."""
    rng = np.random.default_rng(seed)
    number, item = [], []
    for session in range(sessions):
        first = at = int(rng.integers(0, ITEMS))
        for step in range(int(rng.integers(3, 8))):
            number.append(session)
            item.append(first if step % 2 else at)
            at = (at + int(rng.integers(1, 6))) % ITEMS
    return Interactions(
        np.array(number, np.int64),
        np.array(item, np.int32),
        np.zeros(len(item), np.int8),
        np.arange(len(item), dtype=np.int64) * 1000,
    )


def stage() -> CandidateStage:
    config = SessionKnnConfig(capacity_clicks=1 << 14, capacity_items=ITEMS)
    return CandidateStage([(SessionKnn(config), 1.0)], RankSignals(ITEMS, 1 << 12), 40)


def test_the_ranker_beats_the_stage_on_later_sessions() -> None:
    trained = train_ranker(
        stage(),
        history(1, 1200),
        no_items(),
        ITEMS,
        SMALL,
        Slices(learn=0.3, choose=0.1, measure=0.2),
        threads=1,
    )
    metrics = trained.report["metrics"]
    assert metrics["ranked"]["mrr20_interval"][0] > metrics["stage"]["mrr20"] + 2
    assert trained.size in (20,)
    assert trained.vectors.shape == (ITEMS, 64) or not trained.vectors.any()
    assert sum(trained.report["importance"].values()) == pytest.approx(1, abs=1e-3)
    assert set(trained.report["importance"]) == set(FEATURES)
    parts = trained.report["segments"]
    cases = parts["short sessions (1 or 2 touches)"], parts["longer sessions"]
    assert sum(part["ranked"]["cases"] for part in cases) == metrics["ranked"]["cases"]


def test_rows_are_what_the_stage_answers_and_nothing_is_left_out() -> None:
    past, later = history(2, 300), history(3, 20)
    found = stage()
    found.fit(past)
    asked = cases_of(later)
    rows = candidate_rows(found, asked)
    assert len(asked) == len(later) - 20  # every touch but the first of each session
    for case in (0, 7, len(asked) - 1):
        expected = found.sources[0].recommend(asked.query(case, 40)).item.tolist()
        assert rows.item[rows.start[case] : rows.start[case + 1]].tolist() == expected
        hit = rows.item[rows.hit & (np.arange(len(rows)) >= rows.start[case])]
        assert not len(hit) or hit[0] in later.item
    target = later.item[asked.at]
    assert rows.hit.sum() == sum(
        int(target[case]) in rows.item[rows.start[case] : rows.start[case + 1]] for case in range(len(asked))
    )


def test_the_future_does_not_reach_the_features() -> None:
    """The same early sessions with other ones after them give the same rows; a living stage does not."""
    early, asked = history(4, 200), cases_of(history(5, 30))
    found = stage()
    found.fit(early)
    static = candidate_rows(found, asked)
    again = candidate_rows(found, asked)
    np.testing.assert_array_equal(static.features, again.features)
    live = candidate_rows(found, asked, live=True)
    first = int(static.start[1])
    np.testing.assert_array_equal(static.features[:first], live.features[: int(live.start[1])])
    assert static.features.shape != live.features.shape or not np.array_equal(
        static.features, live.features, equal_nan=True
    )


def test_ranks_prefer_the_order_of_the_stage_among_equals() -> None:
    found = stage()
    found.fit(history(6, 200))
    rows = candidate_rows(found, cases_of(history(7, 20)))
    ranks = ranks_of(rows, np.zeros(len(rows)))
    for case in range(len(ranks)):
        hits = np.flatnonzero(rows.hit[rows.start[case] : rows.start[case + 1]])
        assert ranks[case] == (hits[0] + 1 if len(hits) and hits[0] < 20 else 0)


def test_the_size_is_chosen_where_it_does_best() -> None:
    found = stage()
    found.fit(history(8, 300))
    rows = candidate_rows(found, cases_of(history(9, 60)))
    text = train_trees(rows, SMALL, threads=1)
    assert train_trees(rows, SMALL, threads=1) == text  # the same rows, the same model
    size, cut = best_size(text, rows, (1, 20))
    assert cut.count("\nTree=") == size


def test_measures_have_intervals_by_session() -> None:
    told = measures(np.tile(np.array([1, 0], np.int32), 40), np.repeat(np.arange(40), 2), 1)
    assert told == {
        "cases": 80,
        "hr20": 50.0,
        "hr20_interval": [50.0, 50.0],
        "mrr20": 50.0,
        "mrr20_interval": [50.0, 50.0],
    }
    assert measures(np.zeros(0, np.int32), np.zeros(0, np.int64), 1) == {"cases": 0}


def test_items_of_one_circle_get_like_vectors() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for session in range(600):
        circle = int(rng.integers(0, 2)) * 30
        rows += [(session, circle + int(rng.integers(0, 30))) for _ in range(5)]
    number, item = map(np.array, zip(*rows, strict=True))
    n = len(item)
    vectors = item_vectors(
        Interactions(number, item.astype(np.int32), np.zeros(n, np.int8), np.zeros(n, np.int64)),
        61,
        dimensions=8,
    )
    near = vectors @ vectors.T
    assert near[:30, :30].mean() > near[:30, 30:60].mean() + 0.1
    assert not vectors[60].any()


def test_too_little_history_is_said() -> None:
    with pytest.raises(InvalidRequest, match="at least 200 touches that follow another one are needed"):
        train_ranker(stage(), history(1, 30), no_items(), ITEMS, SMALL, Slices())
    rows = by_session(history(1, 3))
    assert rows.session.tolist() == sorted(rows.session.tolist())


def test_a_small_history_gives_more_of_itself_to_learning() -> None:
    slices = Slices(learn=0.1)
    assert [slices.learnt(n) for n in (0, 1_000, 15_000, 30_000, 100_000)] == [0.25, 0.25, 0.2, 0.1, 0.1]
    assert Slices(learn=0.3).learnt(1_000) == 0.3


def test_a_small_history_trains_on_a_quarter_of_its_sessions() -> None:
    past = history(1, 600)
    config = RankerConfig(trees=2, leaves=3, least_rows=5)
    trained = train_ranker(stage(), past, no_items(), ITEMS, config, Slices(), threads=1)
    touches = np.bincount(past.session)
    first, last = round(600 * (1 - 0.25 - 0.03 - 0.05)), round(600 * (1 - 0.03 - 0.05))
    assert trained.cases == int((touches[first:last] - 1).sum())
