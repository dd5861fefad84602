"""The candidate stage of a decision, outside of a decision: the same sources, asked and blended alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from opportune.recommend.blend import blend_slate
from opportune.recommend.rank_features import COLUMNS, ItemTable, fill_features, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import source_scores
from opportune.recommend.replaceable import Replaceable
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.slate import Slate
from opportune.recommend.source import CandidateSource, Interactions, Items, Query

Floats = npt.NDArray[np.float32]
Teacher = Callable[[Interactions], CandidateSource]
"""Trains a model on a history."""


class CandidateStage:
    """``sources`` with their weights in the blend, of which the best ``count`` are kept; the ranker's signals
    and item table beside them. Everything follows :meth:`update`.

    ``teachers``, by name of the source: models that are trained on what the stage is fitted on and on nothing
    later, then put into the :class:`Replaceable` of that name, where there is one. ``sequence`` is the model
    whose opinion of every candidate is a feature: the one among the sources, or the one taught.
    """

    def __init__(
        self,
        sources: Sequence[tuple[CandidateSource, float]],
        signals: RankSignals,
        count: int,
        teachers: Mapping[str, Teacher] = MappingProxyType({}),
    ) -> None:
        self.sources = [source for source, _ in sources]
        self.names = tuple(source.name for source in self.sources)
        self.signals = signals
        self.count = count
        self.items: ItemTable = no_items()
        self.sequence = next((source for source in self.sources if isinstance(source, SequenceSource)), None)
        self._teachers = teachers
        self._weight = np.array([weight for _, weight in sources], np.float64)
        self._slate = Slate(len(sources), count)
        self._columns = np.zeros((COLUMNS, count), np.float32)

    def fit(self, history: Interactions) -> None:
        for name, teacher in self._teachers.items():
            model = teacher(history)
            if isinstance(model, SequenceSource):
                self.sequence = model
            for source in self.sources:
                if isinstance(source, Replaceable) and source.name == name:
                    source.inner = model
        for source in self.sources:
            source.fit(history)
        self.signals.fit(history)

    def update(self, news: Interactions) -> None:
        for source in self.sources:
            source.update(news)
        self.signals.update(news)

    def propose(self, query: Query) -> tuple[Items, Floats, Floats]:
        """(items best first, their blended scores, their features (COLUMNS, n)); the features are
        overwritten by the next call."""
        self._slate.clear(len(self.sources), self.count)
        for place, source in enumerate(self.sources):
            self._slate.ask(place, source, query)
        found = blend_slate(self._slate, self._weight, self.count)
        fits = None if self.sequence is None else self.sequence.fits(query, found.items)
        scores = source_scores(found.scores, found.said, self.names, fits)
        fill_features(
            self.signals.arrays,
            self.items,
            query.session,
            query.kind,
            query.age_s,
            query.past,
            found.items,
            scores,
            self._columns,
        )
        return found.items, found.scores, self._columns[:, : len(found.items)]
