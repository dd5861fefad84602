"""Loads every kernel before the first decision: the first call of a cached kernel costs up to half a
second."""

from __future__ import annotations

import time

import numpy as np

from opportune.kernels import leave_scipy_alone
from opportune.recommend.blend import blend
from opportune.recommend.content import ContentSimilarity
from opportune.recommend.covisitation import CoVisitation, CoVisitationConfig
from opportune.recommend.popular import Popular, PopularInCategory, Trending
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import CandidateSource, Interactions, Query

_ITEMS = 4


def warm_up() -> float:
    """Run every source once on four touches; returns the seconds it took (minutes-long only where nothing is
    compiled yet: some tens of seconds)."""
    started = time.perf_counter()
    leave_scipy_alone()
    content = ContentSimilarity(capacity_items=_ITEMS)
    for turn in range(200):  # until the index is compacted, so that this kernel is loaded too
        content.describe([0, 1], ["red cup", f"red plate {turn % 2}"])
    category = np.zeros(_ITEMS, np.int32)
    sources: list[CandidateSource] = [
        SessionKnn(SessionKnnConfig(capacity_clicks=8, capacity_items=_ITEMS)),
        CoVisitation(CoVisitationConfig(capacity_items=_ITEMS, capacity_sessions=8)),
        Trending(capacity_items=_ITEMS),
        Popular(capacity_items=_ITEMS),
        PopularInCategory(lambda: category, capacity_items=_ITEMS),
        content,
    ]
    history = Interactions(
        session=np.array([0, 0, 1, 1], np.int64),
        item=np.array([0, 1, 0, 1], np.int32),
        kind=np.zeros(4, np.int8),
        time=np.arange(4, dtype=np.int64),
    )
    query = Query(np.zeros(1, np.int32), np.zeros(1, np.int8), np.zeros(1, np.float32), 4, category=0)
    answers = []
    for source in sources:
        source.fit(history)
        answers.append((source.recommend(query), 1.0))
    blend(answers, 4)
    return time.perf_counter() - started
