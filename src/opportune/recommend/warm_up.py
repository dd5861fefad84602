"""Loads every kernel before the first decision: the first call of a cached kernel costs up to half a
second."""

from __future__ import annotations

import time

import numpy as np

from opportune.recommend.blend import blend
from opportune.recommend.content import ContentSimilarity
from opportune.recommend.covisitation import CoVisitation
from opportune.recommend.popular import MostBought, Popular, PopularInCategory, Trending
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.source import CandidateSource, Interactions, Query


def warm_up() -> float:
    """Run every source once on four touches; returns the seconds it took (minutes-long only where nothing is
    compiled yet: some tens of seconds)."""
    started = time.perf_counter()
    content = ContentSimilarity()
    content.describe([0, 1], ["red cup", "red plate"])
    category = np.zeros(4, np.int32)
    sources: list[CandidateSource] = [
        SessionKnn(),
        CoVisitation(),
        Trending(),
        Popular(),
        MostBought(),
        PopularInCategory(lambda: category),
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
