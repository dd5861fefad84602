"""Attributes as a source: what matches in more ways comes first, then what is touched more."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.attributes import Attributes, price_band
from opportune.recommend.source import Interactions
from opportune.testing.sources import T0, query

CATEGORY = np.array([0, 0, 0, 1, 1, -1], np.int32)
BRAND = np.array([0, 0, 1, 0, 1, 1], np.int32)
BAND = np.array([5, 6, 5, 5, 6, -1], np.int32)


def touched(*items: int) -> Interactions:
    n = len(items)
    return Interactions(
        np.arange(n, dtype=np.int64),
        np.array(items, np.int32),
        np.zeros(n, np.int8),
        np.full(n, T0, np.int64),
    )


@pytest.fixture
def source() -> Attributes:
    source = Attributes(lambda: (CATEGORY, BRAND, BAND), capacity_items=6)
    source.fit(touched(0, 1, 2, 3, 4, 5, 5, 5))
    return source


def test_what_matches_in_more_ways_comes_first(source: Attributes) -> None:
    # Item 0 has category 0, brand 0, band 5, worth 1, .5, .5: 1 and 2 share two (1.5), 3 the last two (1).
    answer = source.recommend(query(0))
    assert answer.item.tolist() == [0, 2, 1, 3]
    assert answer.score[1:] / answer.score[0] == pytest.approx([1.5 / 2, 1.5 / 2, 1.0 / 2])
    assert set(answer.because.tolist()) == {0}


def test_the_open_item_speaks_too_and_the_newest_item_most(source: Attributes) -> None:
    assert source.recommend(query(item=4)).item.tolist()[0] == 4
    assert source.recommend(query(0, 4)).item.tolist()[0] == 4
    assert source.recommend(query(4, 0)).item.tolist()[0] == 0


def test_among_equals_the_more_touched_comes_first(source: Attributes) -> None:
    assert source.recommend(query(0)).item.tolist()[1:3] == [2, 1]  # the newer number first
    source.update(touched(1, 1))
    assert source.recommend(query(0)).item.tolist() == [1, 0, 2, 3]


def test_an_item_that_moved_to_another_category_is_not_listed_in_the_old_one() -> None:
    category = CATEGORY.copy()
    source = Attributes(lambda: (category,), weights=(1.0,), capacity_items=6)
    source.fit(touched(0, 1, 2))
    category[1] = 1
    assert source.recommend(query(0)).item.tolist() == [2, 0]


def test_prices_fall_into_two_bands_a_doubling() -> None:
    assert price_band(np.array([4.0, 5.65, 5.7, 7.99, 8.0, -1.0], np.float32)).tolist() == [
        44, 44, 45, 45, 46, -1,
    ]  # fmt: skip
