"""Matrix factorization: sessions and items as vectors whose product says how well they go together."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.columns import newest_of_session
from opportune.recommend.open_sessions import OpenSessions
from opportune.recommend.source import Candidates, Interactions, Query
from opportune.recommend.vectors import ItemVectors

Vectors = npt.NDArray[np.float32]


class FactorModel(msgspec.Struct, frozen=True):
    """Item vectors ``(items, d)``, zeros for items without one, as ``learn/factors.py`` learnt them;
    ``ridge`` and ``weight`` (of a view, a cart, a purchase) are those of the training."""

    vectors: Vectors
    ridge: float
    weight: tuple[float, float, float]


class Factors:
    """Implicit alternating least squares (Hu, Koren & Volinsky, ICDM 2008). Nobody has to be in the training:
    the vector of a session is solved for when it asks, from the vectors of its items (the paper's equation
    4), so it follows every click and works for people never seen. An item that is new gets the mean vector of
    the sessions that touched it, from its first touch on, and improves with each.

    ``recommend`` is O(d^3 + items x d) up to 50,000 items, 2.7 ms for 40,000 of 64 dimensions, and a search
    in an index above (see :class:`ItemVectors`). ``update`` is 1.4 us a touch, and one solution, 0.1 ms, for
    a touch of a new item.
    The trained vectors change only with training.
    """

    name = "factors"
    reason = "viewed_together"

    def __init__(self, model: FactorModel) -> None:
        self.model = model
        self._known: npt.NDArray[np.bool_] = np.asarray(model.vectors.any(axis=1))
        self._gram = (model.vectors.T @ model.vectors).astype(np.float64)
        self._clear()

    def _clear(self) -> None:
        self._index = ItemVectors(self.model.vectors.shape[1])
        known = np.flatnonzero(self._known)
        self._index.put(known.tolist(), self.model.vectors[known])
        self._open = OpenSessions()
        self._sums: dict[int, tuple[npt.NDArray[np.float64], int]] = {}

    def fit(self, interactions: Interactions) -> None:
        """Forget the new items and meet them again; trained vectors stay."""
        self._clear()
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        trained = len(self._known)
        columns = (interactions.session, interactions.item, interactions.kind)
        for session, item, kind in zip(*(column.tolist() for column in columns), strict=True):
            if not 0 <= kind < len(self.model.weight):
                continue
            if 0 <= item < trained and self._known[item]:
                self._open.add(session, item, kind)
            elif item >= 0 and (before := self._open.before(session)):
                taste = self.fold_in([i for i, _ in before], [k for _, k in before])
                total, n = self._sums.get(item, (np.zeros(len(taste)), 0))
                self._sums[item] = total + taste, n + 1
                self._index.put([item], ((total + taste) / (n + 1)).astype(np.float32)[None, :])

    def fold_in(self, items: list[int], kinds: list[int]) -> npt.NDArray[np.float64]:
        """The vector of somebody who touched these items, all of them trained: ``(Y'Y + Y'(C - 1)Y +
        ridge)^-1 Y'C p``; of an item touched several times the weights add up."""
        weight: dict[int, float] = {}
        for item, kind in zip(items, kinds, strict=True):
            weight[item] = weight.get(item, 0.0) + self.model.weight[kind]
        own = self.model.vectors[list(weight)].astype(np.float64)
        confidence = np.array(list(weight.values()))
        d = own.shape[1]
        left = self._gram + self.model.ridge * np.eye(d) + (own.T * (confidence - 1.0)) @ own
        solved: npt.NDArray[np.float64] = np.linalg.solve(left, own.T @ confidence)
        return solved

    def recommend(self, query: Query) -> Candidates:
        session = newest_of_session(query).tolist()
        kinds = query.kind.tolist()[-len(session) :] if session else []
        trained = [
            (i, k)
            for i, k in [*zip(session, kinds, strict=True), *([(query.item, 0)] if query.item >= 0 else [])]
            if 0 <= i < len(self._known) and self._known[i] and 0 <= k < len(self.model.weight)
        ]
        if not trained:
            return Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
        taste = self.fold_in([i for i, _ in trained], [k for _, k in trained]).astype(np.float32)
        item, score = self._index.nearest(taste, max(int(query.count), 0))
        speakers = [i for i, _ in trained if i in session]
        because = np.full(len(item), -1, np.int32)
        if speakers and len(item):
            own = self.model.vectors[speakers]
            theirs = self._index.rows(item)
            because = np.array(speakers, np.int32)[(theirs @ own.T).argmax(axis=1)]
        return Candidates(item, score, because)
