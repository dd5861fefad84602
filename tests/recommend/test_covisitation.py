"""Co-visitation against its readable reference, and what its rows mean."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.clock import DAY
from opportune.recommend.covisitation import CoVisitation, CoVisitationConfig
from opportune.recommend.covisitation_reference import ReadablePairs
from opportune.recommend.source import Interactions
from opportune.testing.sources import ITEMS, T0, query, random_interactions


def touches(*rows: tuple[int, int, int, int]) -> Interactions:
    session, item, kind, time = np.array(rows, np.int64).reshape(-1, 4).T.copy()
    return Interactions(session, item.astype(np.int32), kind.astype(np.int8), time)


def config(**knobs: object) -> CoVisitationConfig:
    return CoVisitationConfig(**{"capacity_items": ITEMS, "capacity_sessions": 1 << 10, **knobs})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("width", [3, 48])
def test_the_kernel_scores_as_the_reference(seed: int, width: int) -> None:
    knobs = config(neighbours=width, last_items=1 + seed % 5)
    history = random_interactions(seed)
    source = CoVisitation(knobs)
    source.fit(history)
    readable = ReadablePairs(knobs)
    readable.count(history)
    rng = np.random.default_rng(seed)
    for _ in range(30):
        session = rng.integers(0, ITEMS, rng.integers(0, 9)).tolist()
        open_item = int(rng.integers(-1, ITEMS))
        answer = source.recommend(query(*session, count=1000, item=open_item))
        expected = readable.ask(session, open_item)
        assert dict(zip(answer.item.tolist(), answer.score.tolist(), strict=True)) == pytest.approx(expected)
        assert answer.item.tolist() == sorted(expected, key=lambda item: (-np.float64(expected[item]), -item))


def test_stronger_kinds_and_closer_touches_weigh_more() -> None:
    source = CoVisitation(config(popularity_power=0.0))
    source.fit(touches((0, 1, 0, T0), (0, 2, 0, T0), (0, 3, 2, T0)))
    answer = source.recommend(query(1))
    scores = dict(zip(answer.item.tolist(), answer.score.tolist(), strict=True))
    assert scores == pytest.approx({2: 1.0, 3: 2.0 * 0.8})
    back = source.recommend(query(3))
    assert dict(zip(back.item.tolist(), back.score.tolist(), strict=True)) == pytest.approx(
        {2: 0.7 * 2.0, 1: 0.7 * 2.0 * 0.8}
    )


def test_old_pairs_fade() -> None:
    source = CoVisitation(config(popularity_power=0.0, half_life_ms=DAY))
    rows = [(0, 1, 0, T0), (0, 2, 0, T0)]
    rows += [(1 + day, 9, 0, T0 + day * DAY) for day in range(1, 3)]
    rows += [(9, 1, 0, T0 + 3 * DAY), (9, 3, 0, T0 + 3 * DAY)]
    source.fit(touches(*rows))
    answer = source.recommend(query(1))
    assert answer.item.tolist() == [3, 2]
    assert answer.score[0] / answer.score[1] == pytest.approx(2.0**3)


def test_scaling_to_a_new_landmark_keeps_the_ratios() -> None:
    source = CoVisitation(config(popularity_power=0.0, half_life_ms=DAY))
    rows = [(0, 1, 0, T0), (0, 2, 0, T0)]
    rows += [(day, 9, 0, T0 + day * DAY) for day in range(1, 60)]
    rows += [(90, 1, 0, T0 + 60 * DAY), (90, 3, 0, T0 + 60 * DAY)]
    source.fit(touches(*rows))
    answer = source.recommend(query(1))
    assert answer.item.tolist() == [3, 2]
    assert answer.score[0] / answer.score[1] == pytest.approx(2.0**60)


def test_touching_an_item_again_counts_no_new_pairs_but_buying_it_does() -> None:
    source = CoVisitation(config(popularity_power=0.0))
    source.fit(touches((0, 1, 0, T0), (0, 2, 0, T0), (0, 1, 0, T0), (0, 2, 0, T0)))
    assert source.recommend(query(1)).score.tolist() == [1.0]
    source.update(touches((0, 2, 2, T0)))
    assert source.recommend(query(1)).score.tolist() == [1.0 + 2.0]


def test_a_full_row_lets_frequent_newcomers_in() -> None:
    source = CoVisitation(config(neighbours=1, popularity_power=0.0, backward=0.0))
    source.fit(touches(*[(s, i, 0, T0) for s in range(3) for i in (1, 2)]))
    assert source.recommend(query(1)).item.tolist() == [2]
    source.update(touches(*[(s, i, 0, T0) for s in range(10, 14) for i in (1, 3)]))
    answer = source.recommend(query(1))
    assert answer.item.tolist() == [3]
    assert answer.score.tolist() == [1.0]  # 3 touches ate up the weight of item 2, the fourth got in


def test_the_open_item_speaks_loudest_and_is_no_reason_unless_it_was_touched() -> None:
    source = CoVisitation(config(popularity_power=0.0))
    source.fit(touches((0, 1, 0, T0), (0, 2, 0, T0), (1, 5, 0, T0), (1, 6, 0, T0)))
    answer = source.recommend(query(1, item=5))
    assert answer.item.tolist() == [6, 2]
    assert answer.because.tolist() == [-1, 1]
    assert source.recommend(query(1, 5, item=5)).because.tolist() == [5, 1]
