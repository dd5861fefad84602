"""Metrics over cases, with intervals that know that cases of one session go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 500


def measures(ranks: npt.NDArray[np.int32], session: npt.NDArray[np.int64], seed: int) -> dict[str, Any]:
    """HR@20 and MRR@20 in per cent, with 95 % intervals by bootstrap over whole sessions (Efron, 1979).

    ``ranks`` (cases,): 1 the top, 0 not among the first 20; ``session`` (cases,) numbers their sessions.
    """
    if not len(ranks):
        return {"cases": 0}
    hit = (ranks > 0).astype(np.float64)
    reciprocal = _reciprocal(ranks)
    _, of = np.unique(session, return_inverse=True)
    n = int(of.max()) + 1
    sums = np.stack([np.bincount(of, column, n) for column in (hit, reciprocal, np.ones(len(hit)))])
    rng = np.random.default_rng(seed)
    drawn = np.array([sums[:, rng.integers(0, n, n)].sum(axis=1) for _ in range(RESAMPLES)])
    low, high = np.percentile(100 * drawn[:, :2] / drawn[:, 2:], (2.5, 97.5), axis=0)
    return {
        "cases": len(ranks),
        "hr20": round(100 * float(hit.mean()), 2),
        "hr20_interval": [round(float(low[0]), 2), round(float(high[0]), 2)],
        "mrr20": round(100 * float(reciprocal.mean()), 2),
        "mrr20_interval": [round(float(low[1]), 2), round(float(high[1]), 2)],
    }


def difference(
    mine: npt.NDArray[np.int32], other: npt.NDArray[np.int32], session: npt.NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """MRR@20 of ``mine`` less that of ``other`` on the same cases, in points, with its 95 % interval by
    bootstrap over whole sessions of the paired differences."""
    if not len(mine):
        return {"cases": 0, "mrr20": 0.0, "interval": [0.0, 0.0]}
    gain = 100.0 * (_reciprocal(mine) - _reciprocal(other))
    _, of = np.unique(session, return_inverse=True)
    n = int(of.max()) + 1
    sums = np.stack([np.bincount(of, column, n) for column in (gain, np.ones(len(gain)))])
    rng = np.random.default_rng(seed)
    drawn = np.array([sums[:, rng.integers(0, n, n)].sum(axis=1) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return {
        "cases": len(gain),
        "mrr20": round(float(gain.mean()), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
    }


def _reciprocal(ranks: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)
