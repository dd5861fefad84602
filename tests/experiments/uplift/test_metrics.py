from __future__ import annotations

import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.experiments.uplift.metrics import (
    Floats,
    bootstrap,
    qini,
    qini_curve,
    uplift_at,
    uplift_at_interval,
)


def trial(n: int = 500, seed: int = 11) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    treated = (rng.random(n) < 0.4).astype(float)
    score = np.round(rng.normal(size=n), 1)
    outcome = (rng.random(n) < 0.2 + 0.15 * treated * (score > 0)).astype(float)
    return outcome, score, treated


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (qini(*trial()), 0.05295797128683639),
        (uplift_at(0.1)(*trial()), 0.05952380952380951),
        (uplift_at(0.3)(*trial()), 0.12912087912087913),
        (uplift_at(0.3, by_group=False)(*trial()), 0.13122171945701358),
    ],
)
def test_equal_to_scikit_uplift(found: float, expected: float) -> None:
    """Expected values from scikit-uplift 0.5.1 on the same arrays."""
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_curve_by_hand() -> None:
    """Two treated who respond first, a control that responds last: 1, 2, then less the control's share."""
    outcome, treated = np.array([1.0, 1, 0, 1]), np.array([1.0, 1, 0, 0])
    x, y = qini_curve(outcome, np.array([4.0, 3, 2, 1]), treated)
    assert x.tolist() == [0, 1, 2, 3, 4]
    assert y.tolist() == [0, 1, 2, 2 - 0 * 2 / 1, 2 - 1 * 2 / 2]


def test_the_perfect_order_scores_one_and_a_constant_zero() -> None:
    outcome, _, treated = trial()
    perfect = outcome * treated - outcome * (1 - treated)
    assert qini(outcome, perfect, treated) == pytest.approx(1.0)
    assert qini(outcome, np.zeros(500), treated) == pytest.approx(0.0)


def test_nobody_responding_is_no_skill() -> None:
    _, score, treated = trial()
    assert qini(np.zeros(500), score, treated) == 0.0


def test_the_interval_of_uplift_at_k_is_that_of_two_means() -> None:
    outcome, score, treated = trial()
    order = np.argsort(score, kind="stable")[::-1]
    high = outcome[order][treated[order] == 1][: int(treated.sum() * 0.3)]
    low = outcome[order][treated[order] == 0][: int((1 - treated).sum() * 0.3)]
    error = np.sqrt(high.var(ddof=1) / len(high) + low.var(ddof=1) / len(low))
    found = uplift_at_interval(0.3, outcome, score, treated)
    assert found == pytest.approx((high.mean() - low.mean() - 1.959964 * error, found[1]), abs=1e-6)
    around = bootstrap(uplift_at(0.3), outcome, score, treated, resamples=300)
    assert around == pytest.approx(found, abs=0.06)


def test_too_few_people_for_an_interval() -> None:
    assert uplift_at_interval(0.3, np.ones(4), np.arange(4.0), np.array([1.0, 0, 1, 0])) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.ones(2), np.ones(3), np.ones(2)), "as long as each other, saw '2, 3, 2'"),
        ((np.ones(2), np.ones(2), np.array([0.0, 2.0])), "treated must be 0 or 1, saw 2.0, at treated"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments: tuple[Floats, Floats, Floats], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        qini(*arguments)


def test_k_is_a_share() -> None:
    with pytest.raises(InvalidRequest, match=r"k is a share over 0 and at most 1, saw 30, at k"):
        uplift_at(30)
