"""A candidate source whose model is trained apart and put in while decisions go on."""

from __future__ import annotations

import numpy as np

from opportune.recommend.source import Candidates, CandidateSource, Interactions, Query


class Replaceable:
    """Proposes what the model put in last proposes; nothing before the first. Models are trained on history
    and only meet what is new, so that putting one in costs a bounded time."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        self.inner: CandidateSource | None = None

    def serve(self, inner: CandidateSource | None, lately: Interactions) -> None:
        """Put a model in; it meets what happened lately first. None takes it out."""
        if inner is not None:
            inner.fit(lately)
        self.inner = inner

    def fit(self, interactions: Interactions) -> None:
        if self.inner is not None:
            self.inner.fit(interactions)

    def update(self, interactions: Interactions) -> None:
        if self.inner is not None:
            self.inner.update(interactions)

    def recommend(self, query: Query) -> Candidates:
        if self.inner is None:
            return Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
        return self.inner.recommend(query)
