"""The rank stage: one score per candidate, in the unit interval, whoever gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opportune.decide.candidates import Pool
from opportune.decide.world import Ranker
from opportune.recommend.source import Floats, Query


def rank(pool: Pool, ranker: Ranker | None, query: Query, features: Mapping[str, Any]) -> Floats:
    """Scores parallel to the pool: the ranker's, or the blend's where there is no ranker.

    Raises ValueError when a ranker answers with the wrong shape or with no number.
    """
    if ranker is None or not len(pool):
        return unit(pool.score)
    score = ranker.score(pool.item, pool.score, query, features)
    if score.shape != pool.item.shape:
        raise ValueError(f"{ranker.name} gave {score.shape} scores for {len(pool)} candidates")
    if not np.isfinite(score).all():
        raise ValueError(f"{ranker.name} gave scores that are not finite")
    return unit(score)


def unit(score: Floats) -> Floats:
    """Scores moved and scaled into 0 to 1, keeping their order; positive scores keep their ratios.

    Rules multiply scores, so none may be negative.
    """
    if not len(score):
        return score
    low, top = float(score.min()), float(score.max())
    if low < 0:
        span = top - low
        return ((score - np.float32(low)) / np.float32(span if span > 0 else 1)).astype(np.float32)
    return (score / np.float32(top)).astype(np.float32) if top > 0 else np.zeros_like(score)
