"""Whether predicted chances happen as often as predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10


def calibration(chance: npt.ArrayLike, happened: npt.ArrayLike, bins: int = BINS) -> dict[str, Any]:
    """``bins``: rows in groups of equal size by predicted chance, each with the mean prediction and the share
    that happened with its 95 % interval (Wilson, 1927). ``error``: the mean distance of the two, weighted by
    rows (ECE, Naeini et al., AAAI 2015). ``log_loss`` beside ``log_loss_of_base_rate``; ``auc``."""
    p = np.clip(np.asarray(chance, np.float64), 1e-12, 1 - 1e-12)
    y = np.asarray(happened, np.float64)
    order = np.argsort(p, kind="stable")
    told = []
    error = 0.0
    for part in np.array_split(order, bins):
        if len(part):
            predicted, observed = float(p[part].mean()), float(y[part].mean())
            low, high = wilson(int(y[part].sum()), len(part))
            told.append(
                {
                    "rows": len(part),
                    "predicted": round(predicted, 6),
                    "observed": round(observed, 6),
                    "interval": [round(low, 6), round(high, 6)],
                }
            )
            error += abs(predicted - observed) * len(part) / len(p)
    rate = float(y.mean()) if len(y) else 0.0
    return {
        "rows": len(p),
        "base_rate": round(rate, 6),
        "auc": _auc(p, y),
        "log_loss": round(float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()), 6) if len(p) else None,
        "log_loss_of_base_rate": round(_entropy(rate), 6),
        "error": round(error, 6),
        "bins": told,
    }


def wilson(happened: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, "Probable inference", JASA 1927), which stays in [0, 1].

    >>> wilson(0, 10)[0], round(wilson(0, 10)[1], 4)
    (0.0, 0.2775)
    """
    middle = (happened + z * z / 2) / (n + z * z)
    half = z * (happened * (n - happened) / n + z * z / 4) ** 0.5 / (n + z * z)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _auc(p: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    """The chance that a row where it happened is predicted above one where it did not; ties count half."""
    positive = int(y.sum())
    if not 0 < positive < len(y):
        return None
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2.0)[place]
    above = rank[y > 0].sum() - positive * (positive + 1) / 2
    return round(float(above / (positive * (len(y) - positive))), 4)


def _entropy(rate: float) -> float:
    if not 0 < rate < 1:
        return 0.0
    return float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))
