"""Lifetime models against what their authors published, and against people of known parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import hyp2f1

from opportune.errors import InvalidDefinition
from opportune.learn.buying import BuyingModel, fit_buying, hypergeometric, log_likelihood
from opportune.learn.spending import SpendingModel, fit_spending

CDNOW = BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426)


def test_expected_orders_are_those_of_the_paper():
    # Fader, Hardie & Lee's own worked example: x = 2, t_x = 30.43, T = 38.86, the next 39 weeks.
    assert CDNOW.expected(2, 30.43, 38.86, 39) == pytest.approx(1.226, abs=5e-4)


def test_who_never_came_back_may_still_be_a_customer():
    assert CDNOW.alive(0, 0, 38.86) == 1.0
    assert CDNOW.alive(2, 1, 38.86) < CDNOW.alive(2, 20, 38.86) < CDNOW.alive(2, 38.86, 38.86) < 1


def test_the_parameters_of_simulated_people_are_found():
    rng = np.random.default_rng(7)
    r, alpha, a, b = 0.8, 5.0, 1.2, 3.0
    rows = []
    for _ in range(6000):
        rate, leaves, age = rng.gamma(r, 1 / alpha), rng.beta(a, b), rng.uniform(20, 60)
        now, n, last = 0.0, 0, 0.0
        while True:
            now += rng.exponential(1 / rate)
            if now > age:
                break
            n, last = n + 1, now
            if rng.random() < leaves:
                break
        rows.append((n, last, age))
    x, t_x, t = np.array(rows).T
    found = fit_buying(x, t_x, t)
    best = log_likelihood(found.r, found.alpha, found.a, found.b, x, t_x, t).sum()
    truth = log_likelihood(r, alpha, a, b, x, t_x, t).sum()
    # Four parameters: twice the gain in likelihood is chi-squared with 4 degrees, above 18.5 once in 1,000.
    assert 0 <= best - truth < 9.24
    assert found.r / found.alpha == pytest.approx(r / alpha, rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(a / (a + b), rel=0.15)


@pytest.mark.parametrize(
    ("a", "b", "c", "z"), [(2.2, 4.4, 5.2, 0.3), (0.5, 1.0, 3.0, 0.9), (30.0, 9.0, 40.0, 0.6)]
)
def test_the_series_is_scipy_s(a, b, c, z):
    assert hypergeometric(a, b, c, z) == pytest.approx(hyp2f1(a, b, c, z), rel=1e-9)


def test_features_are_read_in_the_unit_of_the_model():
    week = 7 * 86_400
    features = {"orders_all": 3, "order_recency": 8.43 * week, "order_age": 38.86 * week}
    orders, alive = CDNOW.of(features, ahead_s=39 * week)
    assert orders == pytest.approx(1.226, abs=5e-4)
    assert alive == pytest.approx(CDNOW.alive(2, 30.43, 38.86))
    assert CDNOW.of({"orders_all": 0, "order_recency": None, "order_age": None}, ahead_s=week) is None


def test_nobody_who_came_back_is_nothing_to_learn_from():
    with pytest.raises(InvalidDefinition, match="nobody ordered twice, saw 2: take a longer history"):
        fit_buying([0, 0], [0, 0], [5, 9])
    with pytest.raises(InvalidDefinition, match="nobody spent anything, saw 0"):
        fit_spending([0], [0.0])


def test_spending_draws_towards_everybody_s_mean():
    model = SpendingModel(p=6.25, q=3.74, v=15.44)
    everybody = 6.25 * 15.44 / (3.74 - 1)
    assert model.expected(0, 0) == pytest.approx(everybody)
    assert everybody < model.expected(1, 80) < model.expected(9, 80) < 80


def test_the_spending_of_simulated_people_is_found():
    rng = np.random.default_rng(3)
    p, q, v = 4.0, 5.0, 20.0
    x = rng.integers(1, 12, 5000)
    mean = np.array(
        [rng.gamma(p, 1 / nu, n).mean() for nu, n in zip(rng.gamma(q, 1 / v, 5000), x, strict=True)]
    )
    found = fit_spending(x, mean)
    assert found.q == pytest.approx(q, rel=0.12)
    assert found.p * found.v / (found.q - 1) == pytest.approx(p * v / (q - 1), rel=0.03)
