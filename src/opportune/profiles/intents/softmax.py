"""Multinomial logistic regression over dense vectors."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MEMORY = 10
_SUFFICIENT = 1e-4
_SMALLEST_STEP = 1e-10


def fit_softmax(
    vectors: npt.NDArray[np.float32],
    label: npt.NDArray[np.int64],
    labels: int,
    cost: float,
    *,
    rounds: int = 200,
    precise: float = 1e-4,
) -> Floats:
    """Weights ``(labels, d + 1)``, the last column being the bias, which is not penalized: the minimum of
    ``cost * sum of log losses + squared weights / 2``, by L-BFGS (Nocedal & Wright, algorithm 7.5) with
    backtracking. Stops when no gradient per row exceeds ``precise``. O(rounds x rows x d x labels).
    """
    n, d = vectors.shape
    x = np.hstack((vectors.astype(np.float64), np.ones((n, 1))))
    truth = np.zeros((n, labels))
    truth[np.arange(n), label] = 1.0
    ridge = np.full(d + 1, 1.0 / (cost * n))
    ridge[-1] = 0.0

    def loss(w: Floats) -> tuple[float, Floats]:
        score = x @ w.T
        score -= score.max(axis=1, keepdims=True)
        shape = np.exp(score)
        total = shape.sum(axis=1, keepdims=True)
        value = float(np.log(total).sum() - (score * truth).sum()) / n
        slope = ((shape / total - truth).T @ x) / n + ridge * w
        return value + 0.5 * float((ridge * w * w).sum()), slope

    w = np.zeros((labels, d + 1))
    value, slope = loss(w)
    past: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)
    for _ in range(rounds):
        if np.abs(slope).max() < precise / labels:
            break
        direction = _towards(slope, past)
        fall = float((direction * slope).sum())
        step = 1.0
        while True:
            trial = w + step * direction
            new_value, new_slope = loss(trial)
            if new_value <= value + _SUFFICIENT * step * fall:
                break
            step *= 0.5
            if step < _SMALLEST_STEP:
                return w
        moved, turned = trial - w, new_slope - slope
        curvature = float((moved * turned).sum())
        if curvature > 0:
            past.append((moved, turned, 1.0 / curvature))
        w, value, slope = trial, new_value, new_slope
    return w


def _towards(slope: Floats, past: deque[tuple[Floats, Floats, float]]) -> Floats:
    """The two-loop recursion: the slope through an inverse Hessian that the last moves tell of."""
    q = -slope
    shares = []
    for moved, turned, rho in reversed(past):
        share = rho * float((moved * q).sum())
        shares.append(share)
        q -= share * turned
    if past:
        moved, turned, rho = past[-1]
        q *= 1.0 / (rho * float((turned * turned).sum()))
    else:
        q *= 10.0
    for (moved, turned, rho), share in zip(past, reversed(shares), strict=True):
        q += (share - rho * float((turned * q).sum())) * moved
    return q
