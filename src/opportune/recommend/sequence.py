"""A sequence model as a candidate source: where the session is going, and which items lie there."""

from __future__ import annotations

import numpy as np

from opportune.recommend.columns import newest_of_session, plain
from opportune.recommend.open_sessions import OpenSessions
from opportune.recommend.sequence_kernel import ask_model, fits, session_direction
from opportune.recommend.sequence_model import SequenceModel
from opportune.recommend.slate import answered
from opportune.recommend.source import Candidates, Floats, Interactions, Items, Query

FRESH = 256
"""New items that are compared beside the trained ones: those touched last."""


class SequenceSource:
    """Serves a :class:`SequenceModel`, whose docstring says what it follows (SASRec, CORE), from its arrays
    alone, memory-mapped ones included. The session's
    direction is computed from its last clicks at each question, so it follows every click and people never
    seen; of the catalogue only the items that the session's items lead to are compared.

    An item that was not in the training gets the mean direction of the sessions that touched it, from its
    first touch on; the newest 256 of them take part. Trained vectors change only with training.

    ``recommend`` about 60 us for 100 candidates out of a catalogue of any size (64 neighbours an item reach
    98 % of the first 20 that 128 would); ``update`` 1 us a touch.
    Not safe to use from two threads at once.
    """

    name = "sequence"
    reason = "viewed_together"

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self._known = np.asarray(model.vectors.any(axis=1))
        self._layers = (
            plain(model.vectors, np.float32),
            plain(model.attention, np.float32),
            plain(model.importance, np.float32),
            plain(model.distance, np.float32),
            plain(model.value, np.float32),
        )
        self._returns = plain(model.returns, np.float32)
        self._neighbours = plain(model.neighbours, np.int32)
        self._mark = np.zeros(len(model.vectors), np.int32)
        self._place = np.zeros(len(model.distance), np.int32)
        self._weight = np.zeros(len(model.distance), np.float32)
        self._direction = np.zeros(model.vectors.shape[1], np.float32)
        self._clear()

    def _clear(self) -> None:
        self._open = OpenSessions(touches=len(self.model.distance))
        self._sums: dict[int, Floats] = {}
        self._fresh_item = np.full(FRESH, -1, np.int32)
        self._fresh_vector = np.zeros((FRESH, self.model.vectors.shape[1]), np.float32)
        self._slots: dict[int, int] = {}

    def fit(self, interactions: Interactions) -> None:
        """Forget the new items and meet them again; trained vectors stay."""
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        trained = len(self._known)
        columns = (interactions.session, interactions.item)
        for session, item in zip(*(column.tolist() for column in columns), strict=True):
            if 0 <= item < trained and self._known[item]:
                self._open.add(session, item, 0)
            elif item >= 0 and (before := self._open.before(session)):
                self._meet(item, np.array([i for i, _ in before], np.int32))

    def _meet(self, item: int, session: Items) -> None:
        self._towards(session)
        total = self._sums.pop(item, None)
        self._sums[item] = self._direction.copy() if total is None else total + self._direction
        slot = self._slots.pop(item, None)
        if slot is None:
            slot = len(self._slots)
            if slot == FRESH:
                oldest = next(iter(self._slots))
                slot = self._slots.pop(oldest)
                del self._sums[oldest]
        self._slots[item] = slot
        mean = self._sums[item]
        self._fresh_item[slot] = item
        self._fresh_vector[slot] = mean / max(float(np.linalg.norm(mean)), 1e-6)

    def _towards(self, session: Items) -> int:
        return session_direction(*self._layers, session, self._place, self._weight, self._direction)

    def recommend(self, query: Query) -> Candidates:
        return answered(self, query)

    def recommend_into(self, query: Query, answer: Items) -> int:
        return ask_model(
            *self._layers,
            self._returns,
            self._neighbours,
            self.model.sharpness,
            self._fresh_item,
            self._fresh_vector,
            self._mark,
            newest_of_session(query),
            min(int(query.count), answer.shape[1]),
            answer,
        )

    def fits(self, query: Query, items: Items) -> Floats:
        """How well each item lies in the session's direction: ``exp(sharpness * (cosine - 1))``, 0 for an
        item or a session of which nothing is known. About 20 us for 100 items."""
        found = np.zeros(len(items), np.float32)
        if self._towards(newest_of_session(query)):
            fits(self._layers[0], self._direction, self.model.sharpness, plain(items, np.int32), found)
        return found
