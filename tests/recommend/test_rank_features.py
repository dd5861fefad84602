"""Signals and features on a history whose numbers can be worked out by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from opportune.errors import InvalidDefinition
from opportune.profiles.history import HISTORY
from opportune.recommend.past import NO_PAST, Past, past_of
from opportune.recommend.past_features import FROM_THE_PAST
from opportune.recommend.rank_features import (
    COLUMNS,
    FEATURES,
    FIRST_OF_SOURCES,
    SOURCES,
    ItemTable,
    fill_features,
    no_items,
)
from opportune.recommend.rank_signals import HALF_LIVES, RankSignals
from opportune.recommend.ranker import LearnedRanker, source_scores
from opportune.recommend.source import Interactions
from opportune.recommend.tree_scorer import TreeScorer
from opportune.recommend.tree_text import Forest, Link, Missing, Node, Tree
from opportune.testing.sources import query

NAMES = tuple(FEATURES)


def history(*sessions: list[int]) -> Interactions:
    item = np.concatenate([np.array(session, np.int32) for session in sessions])
    number = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    return Interactions(
        number.astype(np.int64), item, np.zeros(len(item), np.int8), np.arange(len(item), dtype=np.int64)
    )


def signals(*sessions: list[int]) -> RankSignals:
    found = RankSignals(16, 16)
    found.fit(history(*sessions))
    return found


def features(
    found: RankSignals,
    session: list[int],
    candidates: list[int],
    scores: np.ndarray | None = None,
    items: ItemTable | None = None,
    ages: list[float] | None = None,
    past: Past = NO_PAST,
) -> dict[str, list[float]]:
    out = np.zeros((COLUMNS, len(candidates)), np.float32)
    n = len(session)
    fill_features(
        found.arrays,
        no_items() if items is None else items,
        np.array(session, np.int32),
        np.zeros(n, np.int8),
        np.array([math.nan] * n if ages is None else ages, np.float32),
        past,
        np.array(candidates, np.int32),
        np.zeros((len(SOURCES), len(candidates)), np.float32) if scores is None else scores,
        out,
    )
    return {name: out[at].tolist() for at, name in enumerate(NAMES)}


def test_every_column_has_a_name_and_a_meaning() -> None:
    assert len(FEATURES) == COLUMNS == 12 + 29 + 13 + 5 * 3
    assert NAMES[FIRST_OF_SOURCES] == "blend_score"
    assert all(FEATURES.values())


def test_transitions_and_co_occurrence() -> None:
    # 1 is followed by 2 twice and by 3 once: three touches came after it
    found = signals([1, 2], [1, 2], [1, 3, 2])
    told = features(found, [1], [2, 3, 4])
    assert told["next_of_last"] == pytest.approx([2 / (3 + 1), 1 / (3 + 1), 0])
    # 2 never led to 1; the touches of 1 and of 2 are 3, a little decayed
    assert told["leads_to_last"] == [0, 0, 0]
    assert told["near_last"][0] == pytest.approx((1 + 1 + 0.8) / 3, rel=1e-3)
    assert told["near_count"] == [1, 1, 0]
    back = features(found, [2], [1])
    assert back["leads_to_last"] == pytest.approx([2 / (3 + 1)])


def test_decay_and_returns() -> None:
    found = signals([1, 2, 1], [3] * 1)
    told = features(found, [2], [1, 4])
    # item 1 was touched by touches 1 and 3 of 4: the first lost two touches of decay, then both one more
    now = (2 ** (-2 / HALF_LIVES[0]) + 1) * 2 ** (-1 / HALF_LIVES[0])
    assert told["touches_now"] == pytest.approx([math.log1p(now), math.nan], nan_ok=True)
    assert told["return_rate"][0] == pytest.approx(1 / (2 + 2), rel=1e-4)
    assert told["idle"][0] == pytest.approx(math.log1p(4 - 3))
    assert told["age"][0] == pytest.approx(math.log1p(4 - 1))


def test_where_and_how_often_a_candidate_was_seen() -> None:
    told = features(signals([1, 2, 3]), [1, 2, 1, 3], [1, 3, 2, 9], ages=[40, 30, 15, 5])
    assert told["seen_times"] == [2, 1, 1, 0]
    assert told["seen_back"] == pytest.approx([1, 0, 2, math.nan], nan_ok=True)
    assert told["seen_first_back"] == pytest.approx([3, 0, 2, math.nan], nan_ok=True)
    # item 1: 40 - 30 and 15 - 5 seconds; item 2: 30 - 15; nobody knows yet how long for the last
    assert told["seen_dwell_s"] == pytest.approx([10, math.nan, 15, math.nan], nan_ok=True)
    assert told["session_length"] == [4] * 4
    assert told["distinct_items"] == [3] * 4
    assert told["repeat_share"] == [1 / 4] * 4
    assert told["dwell_s"] == [10] * 4
    assert told["session_s"] == [40 - 5] * 4


def test_vectors_and_attributes() -> None:
    vector = np.array([[0, 0], [1, 0], [0.6, 0.8], [0, 1]], np.float32)
    items = ItemTable(
        vector,
        np.array([0, 10, 20, 40], np.float32),
        np.array([-1, 5, 5, 6], np.int32),
        np.array([-1, 1, 2, 2], np.int32),
    )
    told = features(signals([1, 2, 3]), [3, 1], [2, 3, 0], items=items)
    # the session's mean leans to item 1: (1, 0) + 0.7 * (0, 1)
    assert told["vector_last"] == pytest.approx([0.6, 0.0, math.nan], nan_ok=True)
    assert told["vector_session"][0] == pytest.approx((0.6 + 0.7 * 0.8) / math.sqrt(1 + 0.49))
    assert told["vector_most"][0] == pytest.approx(0.8)
    assert told["vector_least"][0] == pytest.approx(0.6)
    assert told["coherence"] == pytest.approx([math.nan] * 3, nan_ok=True)  # 1 and 3 are at a right angle
    assert told["price_ratio"] == pytest.approx([math.log(20 / 25), math.log(40 / 25), math.nan], nan_ok=True)
    assert told["same_category"] == pytest.approx([1 / 2, 1 / 2, math.nan], nan_ok=True)
    assert told["same_brand"] == pytest.approx([1 / 2, 1 / 2, math.nan], nan_ok=True)


def test_source_scores_are_scaled_and_placed() -> None:
    scores = source_scores(
        np.array([4, 2, 1], np.float32), np.array([[0, 8, 2]], np.float32), ("covisitation",)
    )
    told = features(signals([1, 2]), [1], [5, 1, 7], scores)
    assert told["blend_score"] == [1, 0.5, 0.25]
    assert told["blend_rank"] == [1, 2, 3]
    assert told["covisitation_score"] == pytest.approx([math.nan, 1, 0.25], nan_ok=True)
    assert told["covisitation_rank"] == pytest.approx([math.nan, 1, 2], nan_ok=True)
    assert told["session_knn_score"] == pytest.approx([math.nan] * 3, nan_ok=True)
    assert told["seen_mass"] == pytest.approx([2 / 7] * 3)
    assert told["best_raw_score"] == pytest.approx([math.log(4)] * 3)


def test_what_nobody_knows_is_nan_and_harmless() -> None:
    found = signals([1, 2])
    assert all(math.isnan(value[0]) for value in features(found, [], [1]).values())
    told = features(found, [99, -1], [1])  # items outside the tables
    assert all(math.isnan(value[0]) for value in told.values())
    assert features(found, [1], [99])["seen_times"] == [0]


def test_live_updates_are_what_fitting_anew_gives() -> None:
    rng = np.random.default_rng(2)
    sessions = [rng.integers(0, 12, rng.integers(1, 7)).tolist() for _ in range(40)]
    whole, grown = signals(*sessions), RankSignals(16, 16)
    rows = history(*sessions)
    for first in range(0, len(rows), 7):
        last = first + 7
        grown.update(
            Interactions(
                rows.session[first:last], rows.item[first:last], rows.kind[first:last], rows.time[first:last]
            )
        )
    for ours, theirs in zip(grown.arrays, whole.arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def model(feature: str) -> TreeScorer:
    node = Node(NAMES.index(feature), 0.5, Missing.NAN, False, None, -1, -2)
    return TreeScorer(Forest(NAMES, (Tree((node,), (0.0, 1.0)),), Link("identity")))


def test_the_ranker_scores_what_its_features_say() -> None:
    ranker = LearnedRanker("ranker/test", model("seen_times"), signals([1, 2, 3]), no_items())
    asked = query(2, 3)
    many = np.arange(200, dtype=np.int32) % 16
    score = ranker.score(many, np.ones(200, np.float32), asked, {}, np.zeros((0, 200), np.float32), ())
    assert score.tolist() == [1.0 if item in (2, 3) else 0.0 for item in many]
    wrong = TreeScorer(Forest((*NAMES[:-1], "x"), (), Link("identity")))
    with pytest.raises(
        InvalidDefinition, match="than this version computes, saw 'sequence_rank, x': train it"
    ):
        LearnedRanker("ranker/test", wrong, signals([1]), no_items())


HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_790_000_000_000
EARLIER = {
    "item": ["1", "3", "2", "?"],
    "kind": [1, 0, 2, 0],
    "touches": [3, 1, 0, 1],
    "visits": [2, 1, 0, 1],
    "ago": [1, 2, 0, 3],
    "last": [NOW - 5 * HOUR, NOW - 2 * DAY, NOW - 40 * DAY, NOW - 50 * DAY],
    "bought": [0, 0, NOW - 40 * DAY, 0],
}


def number(item_id: str) -> int:
    return int(item_id) if item_id.isdigit() else -1


def test_what_the_earlier_visits_say_of_a_candidate() -> None:
    told_in_any_order = dict(sorted(EARLIER.items()))
    past = past_of({HISTORY: told_in_any_order}, number, NOW)
    assert past.item.tolist() == [1, 3, 2]  # nobody numbers the fourth
    groups = np.array([-1, 7, 7, 8, 8], np.int32)
    brands, prices = np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 10, 20, 0, 60], np.float32)
    items = no_items()._replace(category=groups, brand=brands, price=prices)
    told = features(signals([1, 2, 3, 4]), [4], [1, 2, 3, 4], items=items, past=past)
    hours = [5, 40 * 24, 2 * 24]
    assert told["past_items"] == [3] * 4
    assert told["past_away"] == pytest.approx([math.log1p(5)] * 4)
    assert told["past_ago"] == pytest.approx([1, math.nan, 2, math.nan], nan_ok=True)
    assert told["past_age"] == pytest.approx([*map(math.log1p, hours), math.nan], nan_ok=True)
    assert told["past_touches"] == [3, 0, 1, 0]
    assert told["past_visits"] == [2, 0, 1, 0]
    assert told["past_kind"] == pytest.approx([1, 2, 0, math.nan], nan_ok=True)
    assert told["past_bought"] == pytest.approx([math.nan, math.log1p(960), math.nan, math.nan], nan_ok=True)
    assert told["past_category"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert told["past_brand"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    expected = [math.log(10 / 15), math.log(20 / 15), math.nan, math.log(60 / 15)]
    assert told["past_price"] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(told["taste_mean"]).all()  # no item has a vector


def test_who_has_no_earlier_visit_has_no_such_features() -> None:
    told = features(signals([1, 2, 3]), [1], [2, 3])
    assert all(np.isnan(told[name]).all() for name, _ in FROM_THE_PAST)
    assert past_of({}, number, NOW) is past_of({HISTORY: {}}, number, NOW) is NO_PAST


def test_a_ranker_reads_of_the_person_only_what_its_trees_look_at() -> None:
    assert LearnedRanker("ranker/test", model("seen_times"), signals([1, 2, 3]), no_items()).reads == ()
    ranker = LearnedRanker("ranker/test", model("past_touches"), signals([1, 2, 3]), no_items())
    assert ranker.reads == (HISTORY,)
    three = np.array([1, 2, 3], np.int32)

    def scored(past: Past) -> list[float]:
        asked = msgspec.structs.replace(query(2, 3), past=past)
        return ranker.score(
            three, np.ones(3, np.float32), asked, {}, np.zeros((0, 3), np.float32), ()
        ).tolist()

    # the tree asks whether it was touched before, and what is unknown goes right
    assert scored(past_of({HISTORY: EARLIER}, number, NOW)) == [1.0, 0.0, 1.0]
    assert scored(NO_PAST) == [1.0, 1.0, 1.0]
