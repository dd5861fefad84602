"""Microsegments: sessions alike in what they look at, and what is popular among each kind."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.columns import newest_of_session
from opportune.recommend.source import Candidates, Interactions, Items, Query

Vectors = npt.NDArray[np.float32]


class MicrosegmentModel(msgspec.Struct, frozen=True):
    """``vectors`` (items, d) of length 1 or 0; ``centroids`` (k, d); ``items`` (k, n) what each segment
    touches, best first, -1 at the end; ``scores`` (k, n) likewise, falling."""

    vectors: Vectors
    centroids: Vectors
    items: Items
    scores: Vectors


class Microsegments:
    """What is popular in the segment that the session so far belongs to: k-means over the mean vectors of
    sessions (``learn/microsegments.py``). A fallback between "like this session" and "popular everywhere": it
    has an answer as soon as one item of the session was in the training. Clustering people to recommend what
    their cluster likes is an old idea (Ungar & Foster, "Clustering methods for collaborative filtering", AAAI
    workshop 1998); here it is sessions, by vectors of their items. Lists change with training only.
    O(k d), about 20 us for 64 segments.
    """

    name = "microsegments"
    reason = "popular"

    def __init__(self, model: MicrosegmentModel) -> None:
        self.model = model

    def fit(self, interactions: Interactions) -> None:
        """Nothing: the lists come from the training."""

    def update(self, interactions: Interactions) -> None:
        """Nothing, likewise."""

    def segment(self, items: Items) -> int:
        """The segment of somebody who touched these items; -1 when none of them was in the training."""
        vectors = self.model.vectors
        known = items[(items >= 0) & (items < len(vectors))]
        mean = vectors[known].sum(axis=0)
        length = float(np.linalg.norm(mean)) if len(known) else 0.0
        if length == 0.0:
            return -1
        return int(((self.model.centroids - mean / length) ** 2).sum(axis=1).argmin())

    def recommend(self, query: Query) -> Candidates:
        touched = newest_of_session(query)
        if query.item >= 0:
            touched = np.append(touched, np.int32(query.item))
        segment = self.segment(touched)
        n = 0
        if segment >= 0:
            n = min(int((self.model.items[segment] >= 0).sum()), max(int(query.count), 0))
        at = max(segment, 0)
        return Candidates(
            self.model.items[at, :n].copy(), self.model.scores[at, :n].copy(), np.full(n, -1, np.int32)
        )
