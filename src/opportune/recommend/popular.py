"""Popular, popular in a category, most bought, trending: what many people touch, as candidate sources."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from opportune.clock import DAY, HOUR, SECOND, Millis
from opportune.recommend.by_address import ByAddress
from opportune.recommend.columns import plain, plain_interactions
from opportune.recommend.leaderboard import ask_excess, ask_list, count_touches, factor_at, new_board
from opportune.recommend.slate import answered
from opportune.recommend.source import Candidates, Interactions, Items, Query

CategoryOf = Callable[[], npt.NDArray[np.int32]]
"""Gives the category number of every item, -1 where there is none; the catalogue's array as it is now."""

LISTED = 1000
LISTED_IN_CATEGORY = 200
CAPACITY_ITEMS = 1 << 22
MAX_CATEGORIES = 1 << 15
_ANY_GROUP = np.zeros(0, np.int32)


class Popular:
    """The most touched items, half of the weight lost every week; a cart counts 3 views, a purchase 5. The
    baseline TopPop (Cremonesi, Koren & Turrin, RecSys 2010), fading.

    ``update`` about 0.05 us a touch in bulk; ``recommend`` O(count), from a list that is always current.
    """

    name = "popular"
    reason = "popular"

    def __init__(
        self,
        *,
        half_life_ms: Millis = 7 * DAY,
        kind_weight: tuple[float, float, float] = (1.0, 3.0, 5.0),
        listed: int = LISTED,
        capacity_items: int = CAPACITY_ITEMS,
    ) -> None:
        self._half_life = float(half_life_ms)
        self._weight = np.array(kind_weight, np.float64)
        self._listed = listed
        self._capacity_items = capacity_items
        self._clear()

    def _clear(self) -> None:
        self._board = new_board(self._capacity_items, self._listed)
        self._by_address = ByAddress(self._board)

    def fit(self, interactions: Interactions) -> None:
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        group = np.zeros(len(rows), np.int32)
        count_touches(self._board, rows.item, rows.kind, rows.time, group, self._weight, self._half_life)

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        factor = factor_at(self._board, self._half_life, query.now)
        count = min(int(query.count), answer.shape[1])
        return ask_list(self._by_address.table, 0, factor, _ANY_GROUP, count, answer)


class MostBought(Popular):
    """TopPop of purchases alone, half of the weight lost every 30 days."""

    name = "most_bought"
    reason = "popular"

    def __init__(self, *, listed: int = LISTED, capacity_items: int = CAPACITY_ITEMS) -> None:
        super().__init__(
            half_life_ms=30 * DAY,
            kind_weight=(0.0, 0.0, 1.0),
            listed=listed,
            capacity_items=capacity_items,
        )


class PopularInCategory:
    """The most touched items of the page's category, or of the open item's category; nothing without one:
    TopPop within a category.

    An item is listed in the category that it had when it was last touched; where that changed since, the
    item is left out until its next touch. Lists hold 200 items; categories are numbered below 32,768.
    """

    name = "popular_in_category"
    reason = "popular"

    def __init__(
        self,
        category_of: CategoryOf,
        *,
        half_life_ms: Millis = 7 * DAY,
        kind_weight: tuple[float, float, float] = (1.0, 3.0, 5.0),
        listed: int = LISTED_IN_CATEGORY,
        capacity_items: int = CAPACITY_ITEMS,
    ) -> None:
        self._category_of = category_of
        self._half_life = float(half_life_ms)
        self._weight = np.array(kind_weight, np.float64)
        self._listed = listed
        self._capacity_items = capacity_items
        self._clear()

    def _clear(self) -> None:
        self._board = new_board(self._capacity_items, self._listed, MAX_CATEGORIES)
        self._by_address = ByAddress(self._board)

    def fit(self, interactions: Interactions) -> None:
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        category_of = self._category_of()
        group = np.full(len(rows), -1, np.int32)
        known = (rows.item >= 0) & (rows.item < len(category_of))
        group[known] = category_of[rows.item[known]]
        count_touches(
            self._board,
            rows.item,
            rows.kind,
            rows.time,
            plain(group, np.int32),
            self._weight,
            self._half_life,
        )

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        category_of = plain(self._category_of(), np.int32)
        category = query.category
        if category < 0 and 0 <= query.item < len(category_of):
            category = int(category_of[query.item])
        if not 0 <= category < MAX_CATEGORIES:
            return 0
        factor = factor_at(self._board, self._half_life, query.now)
        count = min(int(query.count), answer.shape[1])
        return ask_list(self._by_address.table, category, factor, category_of, count, answer)


class Trending:
    """Items that are touched more now than they use to be: a fast average against a slow one, as in He &
    Parker, "Topic dynamics" (KDD 2010), but measured against chance.

    Counts with a half-life of 6 hours against counts with one of 7 days: in steady state the first is
    expected to be the second times the ratio of the half-lives. The score is the excess in standard
    deviations of a Poisson count, ``(fast - expected) / sqrt(expected + prior)``; items below expectation
    are left out. Looks at the 1,000 items with the largest fast count, at most once a second of ``now``
    while nothing was learnt: 20 us, else 2.
    """

    name = "trending"
    reason = "trending"

    def __init__(
        self,
        *,
        fast_half_life_ms: Millis = 6 * HOUR,
        slow_half_life_ms: Millis = 7 * DAY,
        prior: float = 3.0,
        kind_weight: tuple[float, float, float] = (1.0, 3.0, 5.0),
        listed: int = LISTED,
        capacity_items: int = CAPACITY_ITEMS,
    ) -> None:
        self._fast_half_life = float(fast_half_life_ms)
        self._slow_half_life = float(slow_half_life_ms)
        self._prior = prior
        self._weight = np.array(kind_weight, np.float64)
        self._listed = listed
        self._capacity_items = capacity_items
        self._clear()

    def _clear(self) -> None:
        self._fast = new_board(self._capacity_items, self._listed)
        self._slow = new_board(self._capacity_items, 1)
        self._by_address = ByAddress((*self._fast, *self._slow))
        self._forget()

    def _forget(self) -> None:
        self._ranked = np.zeros((3, 0), np.int32)
        self._ranked_found = 0
        self._ranked_for = (-1, -1)

    def fit(self, interactions: Interactions) -> None:
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        for board, half_life in ((self._fast, self._fast_half_life), (self._slow, self._slow_half_life)):
            group = np.zeros(len(rows), np.int32)
            count_touches(board, rows.item, rows.kind, rows.time, group, self._weight, half_life)
        self._forget()

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        count = min(int(query.count), answer.shape[1])
        moment = query.now - query.now % SECOND
        if self._ranked_for != (moment, count):
            self._rank(moment, count)
        found = self._ranked_found
        answer[:, :found] = self._ranked[:, :found]
        return found

    def _rank(self, moment: Millis, count: int) -> None:
        """The list for all questions of this second."""
        self._ranked = np.empty((3, count), np.int32)
        self._ranked_for = (moment, count)
        self._ranked_found = ask_excess(
            self._by_address.table,
            factor_at(self._fast, self._fast_half_life, moment),
            factor_at(self._slow, self._slow_half_life, moment),
            self._fast_half_life / self._slow_half_life,
            self._prior,
            count,
            self._ranked,
        )
