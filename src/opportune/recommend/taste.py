"""A person's own model over item vectors: which way their taste points, and how sure that is.

Bayesian linear regression with a known noise (Bishop, "Pattern Recognition and Machine Learning", 2006,
equations 3.50-3.59): what somebody thinks of an item is ``x . theta``, theta is believed to be about
``N(0, I)`` before any evidence, and each item of their past is an observation of 1 (they touched it) or -1
(they dismissed it) with the precision :func:`weigh` gives it. ``x`` is the item's vector cut to its first
:data:`DIMENSIONS` numbers, those that matter most, and brought to length 1.

The evidence is what :mod:`opportune.profiles.history` keeps: no byte more a person, nothing to do for an
event, joined and taken apart with the leaves it is read from, forgotten with them. So the model has seen the
last event, and stays right when item vectors are trained again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.past import AGE_S, KIND, TOUCHES, Past

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

DIMENSIONS = 16
HALF_LIFE_S = 30 * 86_400.0
PRIOR = 1.0
"""Precision of the belief before any evidence: that of one view of today, in every direction."""
MOST_TOUCHES = 4.0
"""More touches of one item say no more."""


class Taste(NamedTuple):
    """``mean`` (d,) of theta, ``root`` (d, d): the lower Cholesky factor of its precision; ``evidence``: how
    many items of the past have a vector."""

    mean: Doubles
    root: Doubles
    evidence: int


@kernel
def weigh(kind: float, touches: float, age_s: float) -> float:
    """The precision of one item of the past: 1 for a view, 3 for a cart, 5 for a purchase, 4 for a dismissal,
    times its touches (at most 4), half of it after 30 days."""
    weight = 4.0 if kind < 0.0 else 1.0 + 2.0 * kind
    return float(weight * min(max(touches, 1.0), MOST_TOUCHES) * 0.5 ** (age_s / HALF_LIFE_S))


@kernel
def _direction(vector: Floats, item: int, out: Doubles) -> bool:
    """The item's vector as the model sees it; false where it has none."""
    if item < 0 or item >= len(vector):
        return False
    d = min(DIMENSIONS, vector.shape[1])
    total = 0.0
    for k in range(d):
        total += vector[item, k] * vector[item, k]
    if not total > 0.0:
        return False
    scale = 1.0 / math.sqrt(total)
    for k in range(DIMENSIONS):
        out[k] = vector[item, k] * scale if k < d else 0.0
    return True


@kernel
def taste_of(vector: Floats, past: Past) -> Taste:
    """The belief after the past. O(n d^2 + d^3): 4 us for 20 items."""
    d = DIMENSIONS
    precision = np.zeros((d, d), np.float64)
    mean = np.zeros(d, np.float64)
    x = np.zeros(d, np.float64)
    evidence = 0
    for at in range(len(past.item)):
        if not _direction(vector, past.item[at], x):
            continue
        kind = past.known[KIND, at]
        weight = weigh(kind, past.known[TOUCHES, at], past.known[AGE_S, at])
        label = -1.0 if kind < 0.0 else 1.0
        evidence += 1
        for i in range(d):
            mean[i] += weight * label * x[i]
            for j in range(i + 1):
                precision[i, j] += weight * x[i] * x[j]
    for i in range(d):
        precision[i, i] += PRIOR
    for i in range(d):  # precision becomes its root
        for j in range(i + 1):
            total = precision[i, j]
            for k in range(j):
                total -= precision[i, k] * precision[j, k]
            precision[i, j] = math.sqrt(total) if i == j else total / precision[j, j]
    for i in range(d):
        for k in range(i):
            mean[i] -= precision[i, k] * mean[k]
        mean[i] /= precision[i, i]
    for i in range(d - 1, -1, -1):
        for k in range(i + 1, d):
            mean[i] -= precision[k, i] * mean[k]
        mean[i] /= precision[i, i]
    return Taste(mean, precision, evidence)


@kernel
def believe(vector: Floats, taste: Taste, candidate: npt.NDArray[np.int32], out: Floats) -> None:
    """Fill ``out`` (2, n): what the person is believed to think of each candidate, from -1 to 1, and the
    standard deviation of that; untouched where a candidate has no vector. O(n d^2), 9 us for 100."""
    d = DIMENSIONS
    x = np.zeros(d, np.float64)
    for row in range(len(candidate)):
        if not _direction(vector, candidate[row], x):
            continue
        thought, spread = 0.0, 0.0
        for i in range(d):
            thought += x[i] * taste.mean[i]
        for i in range(d):
            for k in range(i):
                x[i] -= taste.root[i, k] * x[k]
            x[i] /= taste.root[i, i]
            spread += x[i] * x[i]
        out[0, row] = thought
        out[1, row] = math.sqrt(spread)
