"""Quantiles of an arm with their standard error: medians and tails of money and of time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opportune.experiments.statistics.effects import Point
from opportune.experiments.statistics.intervals import NORMAL

_Z = NORMAL.inv_cdf(0.975)


def ranks(n: int, q: float) -> tuple[int, int]:
    """The 0-based ranks between which the quantile lies with 95 %, by the normal limit of the binomial."""
    half = _Z * math.sqrt(n * q * (1 - q))
    return max(0, math.floor(n * q - half)), min(n - 1, math.ceil(n * q + half))


def quantile(values: npt.ArrayLike, q: float) -> Point:
    """The ``q`` quantile (linear interpolation) with the variance that its order statistics tell: a 95 %
    interval between two ranks is 2 x 1.96 standard errors wide. O(n log n); no density is estimated."""
    found = np.sort(np.asarray(values, dtype=np.float64))
    n = len(found)
    if n < 2:
        return Point(n, math.nan, math.inf)
    low, high = ranks(n, q)
    return of_order_statistics(n, float(np.quantile(found, q)), float(found[low]), float(found[high]))


def of_order_statistics(n: int, value: float, low: float, high: float) -> Point:
    """The same when the quantile and the values at :func:`ranks` are already at hand."""
    return Point(n, value, ((high - low) / (2 * _Z)) ** 2)
