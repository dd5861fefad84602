"""Leaderboards against brute force, and what popular and trending mean."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.clock import DAY, HOUR, MINUTE
from opportune.recommend.leaderboard import decayed_counts
from opportune.recommend.popular import MostBought, Popular, PopularInCategory, Trending
from opportune.recommend.source import Interactions, Query
from opportune.recommend.top import best_first
from opportune.testing.sources import ITEMS, T0, query, random_interactions

CATEGORY = (np.arange(ITEMS) % 4).astype(np.int32)


def views(*rows: tuple[int, int]) -> Interactions:
    """(item, time) of views, a session each."""
    columns = np.array(rows, np.int64).reshape(-1, 2)
    item, time = columns[:, 0].astype(np.int32), columns[:, 1].copy()
    return Interactions(np.arange(len(item)), item, np.zeros(len(item), np.int8), time)


def at(now: int, count: int = 20, category: int = -1, item: int = -1) -> Query:
    none = np.zeros(0, np.int32)
    return Query(none, none.astype(np.int8), none.astype(np.float32), now, count, item, category)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("half_life", [HOUR, 7 * DAY])
def test_the_list_is_the_ranking_of_all_decayed_counts(seed: int, half_life: int) -> None:
    history = random_interactions(seed)
    source = Popular(half_life_ms=half_life, listed=10, capacity_items=ITEMS)
    source.fit(history)
    now = T0 + DAY
    expected = decayed_counts(history, ITEMS, np.array([1.0, 3.0, 5.0]), half_life, now)
    best = best_first(expected, np.arange(ITEMS, dtype=np.int32), 10)
    answer = source.recommend(at(now))
    assert answer.item.tolist() == best.tolist()
    assert answer.score.tolist() == pytest.approx(expected[best].tolist(), rel=1e-5)


def test_popular_forgets_by_half_lives() -> None:
    source = Popular(half_life_ms=DAY, capacity_items=ITEMS)
    source.fit(views((1, T0), (1, T0), (1, T0), (2, T0 + DAY), (2, T0 + DAY)))
    answer = source.recommend(at(T0 + DAY))
    assert answer.item.tolist() == [2, 1]
    assert answer.score.tolist() == pytest.approx([2.0, 3.0 / 2])
    assert source.recommend(at(T0 + 3 * DAY)).score.tolist() == pytest.approx([2.0 / 4, 3.0 / 8])


def test_equal_counts_rank_the_newer_item_first() -> None:
    source = Popular(capacity_items=ITEMS)
    source.fit(views((3, T0), (9, T0), (5, T0)))
    assert source.recommend(at(T0)).item.tolist() == [9, 5, 3]


def test_a_thousand_half_lives_later_it_still_counts_right() -> None:
    source = Popular(half_life_ms=HOUR, capacity_items=ITEMS)
    days = 50
    source.fit(views(*[(1 + day % 3, T0 + day * DAY) for day in range(days)]))
    answer = source.recommend(at(T0 + (days - 1) * DAY))
    assert answer.item.tolist() == [1 + day % 3 for day in (49, 48, 47)]
    assert answer.score.tolist() == pytest.approx([1.0, 2.0**-24, 2.0**-48], rel=1e-4)


def test_one_wrong_clock_does_not_bury_everything_else() -> None:
    source = Popular(half_life_ms=DAY, capacity_items=ITEMS)
    source.fit(views(*[(1, T0)] * 8, (2, T0 + 10_000 * DAY)))
    assert source.recommend(at(T0)).item.tolist() == [1, 2]


def test_most_bought_counts_purchases_only() -> None:
    history = random_interactions(3)
    source = MostBought(capacity_items=ITEMS)
    source.fit(history)
    bought = set(history.item[history.kind == 2].tolist())
    assert set(source.recommend(at(T0 + DAY, count=100)).item.tolist()) == bought


def test_categories_rank_their_own_items() -> None:
    history = random_interactions(4)
    source = PopularInCategory(lambda: CATEGORY, capacity_items=ITEMS)
    source.fit(history)
    now = T0 + DAY
    counts = decayed_counts(history, ITEMS, np.array([1.0, 3.0, 5.0]), 7 * DAY, now)
    for category in range(4):
        inside = np.where(category == CATEGORY, counts, 0.0)
        expected = best_first(inside, np.arange(ITEMS, dtype=np.int32), 20)
        assert source.recommend(at(now, category=category)).item.tolist() == expected.tolist()
    open_item = source.recommend(at(now, item=6))
    assert open_item.item.tolist() == source.recommend(at(now, category=2)).item.tolist()
    assert source.recommend(at(now)).item.tolist() == []


def test_an_item_that_changed_category_moves_with_its_next_touch() -> None:
    category = CATEGORY.copy()
    source = PopularInCategory(lambda: category, capacity_items=ITEMS)
    source.fit(views((1, T0), (5, T0), (5, T0), (2, T0)))
    assert source.recommend(at(T0, category=1)).item.tolist() == [5, 1]
    category[5] = 2
    assert source.recommend(at(T0, category=1)).item.tolist() == [1]
    assert source.recommend(at(T0, category=2)).item.tolist() == [2]
    source.update(views((5, T0)))
    assert source.recommend(at(T0, category=1)).item.tolist() == [1]
    assert source.recommend(at(T0, category=2)).item.tolist() == [5, 2]


def test_trending_is_what_is_touched_more_than_usual() -> None:
    source = Trending(capacity_items=ITEMS)
    steady = [(1, T0 + n * 10 * MINUTE) for n in range(6 * 24 * 21)]  # every ten minutes for three weeks
    now = steady[-1][1]
    rising = [(2, now - n * MINUTE) for n in range(40)]
    source.fit(views(*sorted(steady + rising, key=lambda row: row[1])))
    assert source.recommend(at(now)).item.tolist()[0] == 2
    popular = Popular(capacity_items=ITEMS)
    popular.fit(views(*steady, *rising))
    assert popular.recommend(at(now)).item.tolist()[0] == 1


def test_trending_scores_the_excess_in_standard_deviations() -> None:
    source = Trending(fast_half_life_ms=HOUR, slow_half_life_ms=4 * HOUR, prior=3.0, capacity_items=ITEMS)
    source.fit(views(*[(7, T0)] * 8))
    fast, slow = 8 / 2**4, 8 / 2
    expected = slow * (1 / 4)
    assert fast < expected  # four hours later it is quieter than usual
    assert source.recommend(at(T0 + 4 * HOUR)).item.tolist() == []
    now = source.recommend(at(T0))
    assert now.score.tolist() == pytest.approx([(8 - 2) / (2 + 3.0) ** 0.5])


def test_a_query_without_a_session_is_answered() -> None:
    source = Popular(capacity_items=ITEMS)
    source.fit(random_interactions(1))
    assert len(source.recommend(query()).item) == 20
