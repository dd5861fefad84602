"""Item-to-item co-visitation: what the same sessions touch soon after one another, as a candidate source."""

from __future__ import annotations

import msgspec
import numpy as np

from opportune.clock import DAY, Millis
from opportune.recommend.by_address import ByAddress
from opportune.recommend.columns import newest_of_session, plain_interactions
from opportune.recommend.covisitation_kernel import (
    WINDOW,
    Pairs,
    PairScratch,
    PairWeights,
    ask_pairs,
    count_pairs,
)
from opportune.recommend.pages import lazy_zeros
from opportune.recommend.slate import answered
from opportune.recommend.source import Candidates, Interactions, Items, Query


class CoVisitationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs are counted between a touch and the session's previous ``WINDOW`` distinct items.

    ``pair_weight[a][b]`` is what a touch of kind b after one of kind a is worth (view, cart, buy), times
    ``gap_decay`` for every item between them; the way back (later item to earlier) counts ``backward`` of it.
    Weights halve every ``half_life_ms``. Each item keeps its ``neighbours`` strongest.

    A query asks the neighbours of its last ``last_items`` distinct items, ``position_decay`` per step back,
    and of the open item at ``open_item_weight``. The weight of a pair is divided by the items' touches to
    the power ``popularity_power``.
    """

    neighbours: int = 48
    pair_weight: tuple[tuple[float, float, float], ...] = ((1.0, 1.5, 2.0), (1.0, 3.0, 3.0), (0.5, 2.0, 4.0))
    gap_decay: float = 0.8
    backward: float = 0.7
    half_life_ms: Millis = 30 * DAY
    last_items: int = 5
    position_decay: float = 0.7
    open_item_weight: float = 1.5
    popularity_power: float = 0.4
    capacity_items: int = 1 << 22
    capacity_sessions: int = 1 << 18


class CoVisitation:
    """Item-to-item collaborative filtering (Linden, Smith & York, "Amazon.com recommendations", IEEE Internet
    Computing 2003) with three differences: pairs are those of one session and not of a customer's whole past,
    they weigh by their kinds, distance and age, and popularity is damped by a power and not by the cosine.
    Fixed-width neighbour rows that follow every touch; see ``covisitation_kernel.py``.

    Memory: 400 bytes per touched item and 80 per live session, touched pages only. ``update`` about 1 us a
    touch in bulk; ``recommend`` about 20 us.
    """

    name = "covisitation"
    reason = "viewed_together"

    def __init__(self, config: CoVisitationConfig | None = None) -> None:
        self.config = config = config or CoVisitationConfig()
        self._weights = PairWeights(
            pair=np.array(config.pair_weight, np.float64),
            gap=config.gap_decay ** np.arange(WINDOW, dtype=np.float64),
            position=config.position_decay ** np.arange(16, dtype=np.float64),
        )
        rows = (config.last_items + 1) * config.neighbours
        self._scratch = PairScratch(
            slot_of_item=lazy_zeros(config.capacity_items, np.int32),
            item=np.zeros(rows, np.int32),
            score=np.zeros(rows),
            best_part=np.zeros(rows),
            because=np.zeros(rows, np.int32),
            chosen=np.zeros(rows, np.int32),
        )
        self._clear()

    def _clear(self) -> None:
        config = self.config
        self._pairs = Pairs(
            neighbour=lazy_zeros((config.capacity_items, config.neighbours), np.int32),
            weight=lazy_zeros((config.capacity_items, config.neighbours), np.float32),
            touches=lazy_zeros(config.capacity_items, np.float64),
            session=lazy_zeros(config.capacity_sessions, np.int64),
            recent=lazy_zeros((config.capacity_sessions, WINDOW), np.int32),
            recent_kind=lazy_zeros((config.capacity_sessions, WINDOW), np.int8),
            state=np.zeros(4, np.int64),
        )
        knobs = np.array([config.last_items, config.popularity_power, config.open_item_weight])
        self._by_address = ByAddress((*self._pairs, *self._scratch, *self._weights, knobs))

    def fit(self, interactions: Interactions) -> None:
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        count_pairs(
            self._pairs,
            self._weights,
            float(self.config.half_life_ms),
            self.config.backward,
            rows.session,
            rows.item,
            rows.kind,
            rows.time,
        )

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        count = min(int(query.count), answer.shape[1], len(self._scratch.item))
        return ask_pairs(self._by_address.table, newest_of_session(query), int(query.item), count, answer)
