"""Session nearest neighbours as a candidate source: what people in sessions like this one touched next."""

from __future__ import annotations

import msgspec
import numpy as np

from opportune.recommend.by_address import ByAddress
from opportune.recommend.columns import newest_of_session, plain_interactions
from opportune.recommend.pages import lazy_zeros
from opportune.recommend.session_knn_config import (
    MAX_SESSION,
    RECENCY_STEPS,
    Returns,
    SessionKnnConfig,
    Table,
    Weights,
    bucket_of_count,
    rarity_table,
    return_scales,
    weights,
)
from opportune.recommend.slate import answered
from opportune.recommend.source import Candidates, Interactions, Items, Query
from opportune.recommend.vmis_kernel import (
    AHEAD,
    APPENDED,
    COLUMNS,
    CONTINUED,
    ITEM_AND_KIND,
    KIND_BITS,
    SESSION,
    SESSIONS,
    Index,
    Scratch,
    append_clicks,
    ask_sessions,
)

_LAST_LINK = 2**31 - 2
"""Links are int32; before they run out the index is built again from the clicks that it still holds."""
MAX_COUNT = 1000
Sizes = tuple[int, int, int, int, int, int, int]


class SessionKnn:
    """VMIS-kNN (Kersbergen, Sprangers & Schelter, "Serenade", SIGMOD 2022) over a live index; ``vmis.py``
    says what is computed and where it differs, ``vmis_kernel.py`` how.

    ``update`` costs about 0.1 us a click in bulk; the next ``recommend`` sees it. Not safe to use from two
    threads at once: queries share scratch memory.
    """

    name = "session_knn"
    reason = "viewed_together"

    def __init__(self, config: SessionKnnConfig | None = None) -> None:
        self._configure(config or SessionKnnConfig())
        self._clear()

    def _configure(self, config: SessionKnnConfig) -> None:
        self.config = config
        self._weights = weights(config)
        self._revisit = self._weights.revisit.copy()
        self._steps_per_click = (
            RECENCY_STEPS / config.recency_half_life if config.recency_half_life > 0 else 0.0
        )
        self._sizes = (
            config.recent_sessions,
            config.neighbours,
            config.last_items,
            int(config.linear_positions),
            config.echo_items,
            config.echo_sessions,
            config.echo_neighbours,
        )
        self._scratch = _scratch(config)
        self._rarity_bucket = -1

    def _clear(self) -> None:
        config = self.config
        self.index = Index(
            arena=lazy_zeros((config.capacity_clicks, COLUMNS), np.int32),
            items=lazy_zeros((config.capacity_items, AHEAD + 1), np.int32),
            sessions=lazy_zeros((config.capacity_clicks, 2), np.int32),
            counters=np.zeros(6, np.int64),
        )
        self._rarity_bucket = -1

    def with_config(self, config: SessionKnnConfig) -> SessionKnn:
        """The same live index asked with other knobs (not other capacities), for tuning and experiments."""
        other = SessionKnn.__new__(SessionKnn)
        other._configure(
            msgspec.structs.replace(
                config,
                capacity_clicks=self.config.capacity_clicks,
                capacity_items=self.config.capacity_items,
            )
        )
        other.index = self.index
        other._weigh_returns()
        return other

    @property
    def clicks(self) -> int:
        """Clicks held now, at most ``capacity_clicks``."""
        return min(int(self.index.counters[APPENDED]), self.config.capacity_clicks)

    @property
    def sessions(self) -> int:
        """Sessions of which at least one click is held."""
        return int(self.index.counters[SESSIONS])

    def fit(self, interactions: Interactions) -> None:
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        if int(self.index.counters[APPENDED]) + len(rows) > _LAST_LINK:
            self._renumber()
        append_clicks(self.index, rows.session, rows.item, rows.kind)
        self._weigh_returns()

    def _weigh_returns(self) -> None:
        """In place: the kernel reads these tables by address. About 2 us."""
        newest, others = return_scales(self.config, Returns(*self.index.counters[CONTINUED:].tolist()))
        self._weights.seen[0] = self.config.seen_last * min(newest, 1.0)
        np.multiply(self._revisit, others, out=self._weights.revisit)
        self._weights.revisit[0] = self.config.revisit * newest

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        if bucket_of_count(self.clicks) != self._rarity_bucket:
            self._weigh_rarity()
        count = min(int(query.count), answer.shape[1], MAX_COUNT)
        return ask_sessions(self._by_address.table, newest_of_session(query), count, answer)

    def _weigh_rarity(self) -> None:
        """Rarity depends on the number of clicks; and this is where the index is the current one."""
        self._rarity = rarity_table(self.config, self.clicks)
        self._rarity_bucket = bucket_of_count(self.clicks)
        factors = np.array([self._steps_per_click, self.config.echo_weight])
        self._by_address = ByAddress(
            (
                *self.index,
                *self._scratch,
                *self._weights,
                self._rarity,
                np.array(self._sizes, np.int64),
                factors,
            )
        )

    def kernel_state(self) -> tuple[Index, Scratch, Weights, Table, Sizes, float, float]:
        """The first arguments of :func:`query_index`, with rarity as of now."""
        if bucket_of_count(self.clicks) != self._rarity_bucket:
            self._weigh_rarity()
        return (
            self.index,
            self._scratch,
            self._weights,
            self._rarity,
            self._sizes,
            self._steps_per_click,
            self.config.echo_weight,
        )

    def _renumber(self) -> None:
        old = self.index
        appended = int(old.counters[APPENDED])
        numbers = np.arange(appended - self.clicks, appended)
        at = numbers & (self.config.capacity_clicks - 1)
        self._clear()
        rows = old.arena[at]
        told = rows[:, ITEM_AND_KIND]
        append_clicks(
            self.index,
            rows[:, SESSION].astype(np.int64),
            told >> KIND_BITS,
            (told & (1 << KIND_BITS) - 1).astype(np.int8),
        )
        self.index.counters[CONTINUED:] = old.counters[CONTINUED:]


def _scratch(config: SessionKnnConfig) -> Scratch:
    m = config.recent_sessions
    speakers = max(config.neighbours, config.echo_neighbours)
    touched = (config.neighbours + config.echo_neighbours + 1) * MAX_SESSION
    return Scratch(
        slot_of_session=np.zeros(1 << (2 * m).bit_length(), np.int32),
        session=np.zeros(m, np.int32),
        anchor=np.zeros(m, np.int32),
        nearest=np.zeros(m, np.int32),
        matched=np.zeros(m, np.int32),
        similarity=np.zeros(m),
        ordered=np.zeros(m),
        chosen_slot=np.zeros(speakers, np.int32),
        walk=np.zeros((speakers, MAX_SESSION), np.int32),
        steps=np.zeros(speakers, np.int32),
        slot_of_item=lazy_zeros(config.capacity_items, np.int32),
        item=np.zeros(touched, np.int32),
        score=np.zeros(touched),
        echo=np.zeros(touched),
        share=np.zeros((touched, config.last_items)),
        chosen=np.zeros(MAX_COUNT, np.int32),
    )


__all__ = ["SessionKnn", "SessionKnnConfig"]
