"""One linear support vector machine per label over sparse rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.profiles.intents.terms import Rows

Floats = npt.NDArray[np.float64]

MAX_ROUNDS = 60
PRECISE = 0.05
"""Where it stops: the largest step that any row still wants, in units of the margin."""


def fit_margins(rows: Rows, label: npt.NDArray[np.int64], labels: int, terms: int, cost: float) -> Floats:
    """Weights ``(labels, terms + 1)``, the last column being the bias: label against the rest, squared hinge
    loss times ``cost``, by dual coordinate descent (Hsieh et al., ICML 2008, algorithm 1: LIBLINEAR's).

    O(rounds x labels x stored values).
    """
    weight = np.zeros((labels, terms + 1))
    square = np.array([1.0 + float(w @ w) for w in np.split(rows.weight, rows.start[1:-1])])
    for one in range(labels):
        sign = np.where(label == one, 1.0, -1.0)
        _descend(rows.start, rows.term, rows.weight, square, sign, cost, weight[one])
    return weight


@kernel
def _descend(
    start: npt.NDArray[np.int64],
    term: npt.NDArray[np.int32],
    value: Floats,
    square: Floats,
    sign: Floats,
    cost: float,
    weight: Floats,
) -> None:
    n = len(sign)
    ridge = 0.5 / cost
    alpha = np.zeros(n)
    order = np.arange(n)
    state = np.uint64(88172645463325252)
    for _ in range(MAX_ROUNDS):
        for k in range(1, n):
            i = n - k
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            j = np.int64(state % np.uint64(i + 1))
            order[i], order[j] = order[j], order[i]
        worst = 0.0
        for k in range(n):
            i = order[k]
            score = weight[-1]
            for at in range(start[i], start[i + 1]):
                score += weight[term[at]] * value[at]
            gradient = sign[i] * score - 1.0 + ridge * alpha[i]
            wanted = gradient if alpha[i] > 0.0 else min(gradient, 0.0)
            worst = max(worst, abs(wanted))
            if abs(wanted) < 1e-12:
                continue
            before = alpha[i]
            alpha[i] = max(before - gradient / (square[i] + ridge), 0.0)
            step = (alpha[i] - before) * sign[i]
            weight[-1] += step
            for at in range(start[i], start[i + 1]):
                weight[term[at]] += step * value[at]
        if worst < PRECISE:
            break


@kernel
def margins(
    start: npt.NDArray[np.int64],
    term: npt.NDArray[np.int32],
    value: Floats,
    weight: npt.NDArray[np.float32],
    out: Floats,
) -> None:
    """``out[row, label]`` from weights ``(terms + 1, labels)``, a term's weights beside one another."""
    labels = weight.shape[1]
    for row in range(len(start) - 1):
        for one in range(labels):
            out[row, one] = weight[-1, one]
        for at in range(start[row], start[row + 1]):
            t = term[at]
            for one in range(labels):
                out[row, one] += value[at] * weight[t, one]
