"""How well predicted uplift sorts people: the Qini curve and uplift at k, with intervals.

Definitions are scikit-uplift's (``qini_auc_score`` with ``negative_effect=True``, ``uplift_at_k``), to which
the tests hold them. Everybody is treated (1) or not (0); outcomes are numbers, 0 / 1 for the perfect curve.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Measure = Callable[[Floats, Floats, Floats], float]
"""(outcome, predicted uplift, treated) -> number."""


def qini_curve(outcome: Floats, predicted: Floats, treated: Floats) -> tuple[Floats, Floats]:
    """(people treated from the most promising on, outcomes gained by it); ties are taken together."""
    order = np.argsort(predicted, kind="stable")[::-1]
    y, t, score = outcome[order], treated[order], predicted[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    n_treated = np.cumsum(t)[last]
    n_control = last + 1 - n_treated
    gained = np.cumsum(y * t)[last]
    share = np.divide(n_treated, n_control, out=np.zeros(len(last)), where=n_control != 0)
    curve = gained - np.cumsum(y * (1 - t))[last] * share
    return np.concatenate([[0.0], last + 1.0]), np.concatenate([[0.0], curve])


def qini(outcome: Floats, predicted: Floats, treated: Floats) -> float:
    """Area between the Qini curve and random targeting, as a share of the perfect curve's; 0 for no skill.

    The perfect curve is that of 0 / 1 outcomes. 0 when it has no area over random targeting.
    """
    _check(outcome, predicted, treated)
    perfect_x, perfect_y = qini_curve(outcome, outcome * treated - outcome * (1 - treated), treated)
    random = perfect_x[-1] * perfect_y[-1] / 2
    best = float(np.trapezoid(perfect_y, perfect_x)) - random
    x, y = qini_curve(outcome, predicted, treated)
    return float((np.trapezoid(y, x) - random) / best) if best else 0.0


def uplift_at(k: float, by_group: bool = True) -> Measure:
    """The measure: difference of mean outcomes among the ``k`` (share) most promising, taken from the treated
    and the control apart (``by_group``) or from all together."""
    if not 0 < k <= 1:
        raise InvalidRequest("k is a share over 0 and at most 1", seen=k, where="k")

    def measure(outcome: Floats, predicted: Floats, treated: Floats) -> float:
        _check(outcome, predicted, treated)
        high, low = _top(k, by_group, outcome, predicted, treated)
        return float(high.mean() - low.mean()) if len(high) and len(low) else 0.0

    return measure


def uplift_at_interval(
    k: float,
    outcome: Floats,
    predicted: Floats,
    treated: Floats,
    *,
    by_group: bool = True,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The normal interval of :func:`uplift_at`: two independent means."""
    high, low = _top(k, by_group, outcome, predicted, treated)
    if len(high) < 2 or len(low) < 2:
        return float("-inf"), float("inf")
    middle = float(high.mean() - low.mean())
    error = float(np.sqrt(high.var(ddof=1) / len(high) + low.var(ddof=1) / len(low)))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return middle - reach, middle + reach


def bootstrap(
    measure: Measure,
    outcome: Floats,
    predicted: Floats,
    treated: Floats,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval over resampled people; the predictions stay."""
    rng = np.random.default_rng(seed)
    n = len(outcome)
    drawn = np.empty(resamples)
    for number in range(resamples):
        rows = rng.integers(0, n, n)
        drawn[number] = measure(outcome[rows], predicted[rows], treated[rows])
    low, high = np.quantile(drawn, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def _top(
    k: float, by_group: bool, outcome: Floats, predicted: Floats, treated: Floats
) -> tuple[Floats, Floats]:
    order = np.argsort(predicted, kind="stable")[::-1]
    y, t = outcome[order], treated[order]
    if by_group:
        high, low = y[t == 1], y[t == 0]
        return high[: int(len(high) * k)], low[: int(len(low) * k)]
    first = int(len(y) * k)
    return y[:first][t[:first] == 1], y[:first][t[:first] == 0]


def _check(outcome: Floats, predicted: Floats, treated: Floats) -> None:
    if not len(outcome) == len(predicted) == len(treated):
        raise InvalidRequest(
            "outcome, prediction and treatment must be as long as each other",
            seen=f"{len(outcome)}, {len(predicted)}, {len(treated)}",
        )
    if not np.isin(treated, (0, 1)).all():
        raise InvalidRequest("treated must be 0 or 1", seen=float(treated.max()), where="treated")
