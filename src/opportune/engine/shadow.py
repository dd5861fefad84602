"""A shadow ranker: scores what real decisions ranked, after they were answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, NamedTuple

from opportune.clock import Millis
from opportune.decide.objective import Foreteller, expected
from opportune.decide.world import Ranker
from opportune.errors import InvalidDefinition
from opportune.learn.drift import Baseline
from opportune.learn.side_by_side import SideBySide
from opportune.recommend.source import Floats, Items, Query

WAITING = 64
"""Decisions kept to be compared; while that many wait, others are let go."""
EVERY = 4
"""One in so many decisions is compared: copying one costs its decision 10 us."""


class _Kept(NamedTuple):
    items: Items
    blended: Floats
    live: Floats
    said: Floats
    sources: tuple[str, ...]
    query: Query
    features: dict[str, Any]
    shown: int
    live_us: float
    now: Millis
    worth: Mapping[str, Floats]


class Shadow:
    """Belongs to the engine's thread. :meth:`offer` keeps a copy of one decision in :data:`EVERY`, and
    :meth:`step` compares one of those kept, between requests. ``found`` are the sums so far."""

    def __init__(
        self, ranker: Ranker, found: SideBySide, scores: Baseline | None, *, every: int = EVERY
    ) -> None:
        self.ranker = ranker
        self.found = found
        self._scores = scores
        self._every = every
        self._kept: deque[_Kept] = deque()

    def offer(
        self,
        items: Items,
        blended: Floats,
        live: Floats,
        said: Floats,
        sources: tuple[str, ...],
        query: Query,
        features: dict[str, Any],
        shown: int,
        live_ms: float,
        worth: Mapping[str, Floats] = MappingProxyType({}),
    ) -> None:
        """A decision has ranked these candidates, ``live`` its scores. 0.1 us for those not compared."""
        found = self.found
        found.offered += 1
        if found.offered % self._every or len(self._kept) >= WAITING or not len(items):
            return
        # The arrays are the next decision's memory too.
        kept = Query(
            query.session.copy(),
            query.kind.copy(),
            query.age_s.copy(),
            query.now,
            query.count,
            query.item,
            query.category,
            query.past,
        )
        copies = (items.copy(), blended.copy(), live.copy(), said.copy())
        live_us = live_ms * 1000
        self._kept.append(
            _Kept(*copies, sources, kept, dict(features), shown, live_us, query.now, dict(worth))
        )

    def step(self, timer: Callable[[], float] = perf_counter) -> bool:
        """Compare one decision; true while more are waiting. As long as the ranker takes, about 0.2 ms."""
        if not self._kept:
            return False
        one, found = self._kept.popleft(), self.found
        started = timer()
        try:
            score = self._scored(one)
        except Exception as error:  # noqa: BLE001 - a model on trial may fail in any way: that is its result
            found.failed += 1
            found.last_failure = f"{type(error).__name__} {error}"[:200]
            return bool(self._kept)
        took_us = (timer() - started) * 1e6
        found.add(one.live, score, one.shown, live_us=one.live_us, shadow_us=took_us, now=one.now)
        if not one.worth:
            found.spread(self._scores, score)
        return bool(self._kept)

    def _scored(self, one: _Kept) -> Floats:
        """By its own order, or by what it foretells where the placement has an objective."""
        asked = one.items, one.blended, one.query, one.features, one.said, one.sources
        if not one.worth:
            return self.ranker.score(*asked)
        if not isinstance(self.ranker, Foreteller) or set(one.worth) - set(self.ranker.outcomes):
            raise InvalidDefinition(
                f"{self.ranker.name} has no model of {', '.join(sorted(one.worth))}",
                remedy="train it for this placement, or with --outcomes",
            )
        return expected(self.ranker.foretell(*asked), one.worth)
