"""The learned ranker as a decision uses it: live signals, features, trees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from opportune.errors import InvalidDefinition
from opportune.profiles.history import HISTORY
from opportune.recommend.rank_features import (
    COLUMNS,
    FEATURES,
    FIRST_OF_PAST,
    FIRST_OF_SOURCES,
    SOURCES,
    ItemTable,
    fill_features,
)
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.source import Floats, Items, Query
from opportune.recommend.tree_kernel import BLOCK
from opportune.recommend.tree_scorer import TreeScorer, room_for

_SEQUENCE = SOURCES.index(SequenceSource.name)


@lru_cache(maxsize=256)
def _rows_of(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(feature source, place among the named) of the sources that are both features and named."""
    return tuple((at, names.index(name)) for at, name in enumerate(SOURCES[:_SEQUENCE]) if name in names)


def source_scores(
    blended: Floats, said: Floats, names: tuple[str, ...], fits: Floats | None = None
) -> Floats:
    """The ``scores`` of :func:`fill_features`: the blend's, and those of the sources that are features.
    ``said`` (at least len(names), n) is what each named source scored; ``fits`` (n,) what the sequence model
    that the ranker was trained with thinks of every candidate."""
    scores = np.zeros((len(SOURCES), len(blended)), np.float32)
    scores[0] = blended
    for at, place in _rows_of(names):
        scores[at] = said[place]
    if fits is not None:
        scores[_SEQUENCE] = fits
    return scores


class LearnedRanker:
    """Scores candidates with a forest over :data:`FEATURES`. About 0.1 ms for 100 candidates and 60 trees.

    ``name`` goes into the decision record; ``outcomes`` are forests of chances; ``sequence`` is the sequence
    model that it was trained with, if any. ``reads``: :data:`HISTORY` where its trees
    really look at the person's earlier visits, which a decision then puts into the query; empty where none
    does, so that nobody's history is read in vain. Raises
    :class:`InvalidDefinition` for a model whose features are not those of this version.
    """

    def __init__(
        self,
        name: str,
        scorer: TreeScorer,
        signals: RankSignals,
        items: ItemTable,
        outcomes: Mapping[str, TreeScorer] = MappingProxyType({}),
        sequence: SequenceSource | None = None,
    ) -> None:
        if scorer.features != tuple(FEATURES):
            missing = sorted(set(FEATURES) ^ set(scorer.features))
            raise InvalidDefinition(
                "the model was trained on other features than this version computes",
                seen=", ".join(missing[:8]) or "another order",
                remedy="train it again with `opportune train`",
            )
        self.name = name
        self.outcomes = tuple(outcomes)
        self._outcomes = dict(outcomes)
        self._scorer = scorer
        looks = any(_looks_at_past(one) for one in (scorer, *outcomes.values()))
        self.reads: tuple[str, ...] = (HISTORY,) if looks else ()
        self._signals = signals
        self._items = items
        self._sequence = sequence
        self._columns = np.zeros((COLUMNS, BLOCK), np.float32)

    @property
    def vectors(self) -> Floats:
        """Of every item, those that it was trained with: (items, d)."""
        return self._items.vector

    def score(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> Floats:
        self._fill(items, blended, query, said, sources)
        return self._scorer.score(self._columns)[: len(items)].astype(np.float32)

    def foretell(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> dict[str, Floats]:
        """The chance of each of ``outcomes`` per candidate. As long as :meth:`score` for each of them."""
        self._fill(items, blended, query, said, sources)
        n = len(items)
        return {
            name: scorer.score(self._columns)[:n].astype(np.float32)
            for name, scorer in self._outcomes.items()
        }

    def _fill(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        said: Floats,
        sources: tuple[str, ...],
    ) -> None:
        n = len(items)
        if self._columns.shape[1] < n:
            self._columns = np.zeros((COLUMNS, room_for(n)), np.float32)
        fits = None if self._sequence is None else self._sequence.fits(query, items)
        fill_features(
            self._signals.arrays,
            self._items,
            query.session,
            query.kind,
            query.age_s,
            query.past,
            items,
            source_scores(blended, said, sources, fits),
            self._columns,
        )

    def warm_up(self) -> None:
        """Load the kernels, so that the first decision does not wait for them."""
        item = np.zeros(1, np.int32)
        query = Query(item, np.zeros(1, np.int8), np.zeros(1, np.float32), 0)
        one = np.ones(1, np.float32)
        self.score(item, one, query, {}, one[None, :], ("session_knn",))
        self.foretell(item, one, query, {}, one[None, :], ("session_knn",))


def _looks_at_past(scorer: TreeScorer) -> bool:
    past = range(FIRST_OF_PAST, FIRST_OF_SOURCES)
    return any(node.feature in past for tree in scorer.forest.trees for node in tree.nodes)
