"""The rank stage: one score per candidate, in the unit interval, whoever gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opportune.decide.candidates import Pool
from opportune.decide.world import Ranker
from opportune.kernels import kernel
from opportune.recommend.columns import plain
from opportune.recommend.source import Floats, Query


def rank(pool: Pool, ranker: Ranker | None, query: Query, features: Mapping[str, Any]) -> Floats:
    """Scores parallel to the pool: the ranker's, or the blend's where there is no ranker.

    Raises ValueError when a ranker answers with the wrong shape or with no number.
    """
    if ranker is None or not len(pool):
        return unit(pool.score)
    score = ranker.score(pool.item, pool.score, query, features, pool.said, pool.names[: len(pool.said)])
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
    out = np.empty(len(score), np.float32)
    unit_into(plain(score, np.float32), out)
    return out


@kernel
def unit_into(score: Floats, out: Floats) -> None:
    low, top = score[0], score[0]
    for k in range(len(score)):
        low = min(low, score[k])
        top = max(top, score[k])
    if low < 0:
        span = top - low if top > low else np.float32(1.0)
        for k in range(len(score)):
            out[k] = (score[k] - low) / span
    else:
        for k in range(len(score)):
            out[k] = score[k] / top if top > 0 else np.float32(0.0)
