"""Shares of groups against statsmodels."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

from opportune.experiments.statistics.shares import Share, p_same, ratio_interval, wilson

PAIRS = [
    (Share(120, 400), Share(250, 500)),
    (Share(7, 60), Share(31, 90)),
    (Share(999, 1000), Share(40, 41)),
    (Share(3000, 9000), Share(3000, 9000)),
]


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_equal_to_statsmodels(a: Share, b: Share, alpha: float) -> None:
    assert wilson(a, alpha) == pytest.approx(proportion_confint(*a, alpha=alpha, method="wilson"), abs=1e-9)
    theirs = confint_proportions_2indep(*a, *b, compare="ratio", method="log", alpha=alpha)
    assert ratio_interval(a, b, alpha) == pytest.approx(theirs, rel=1e-9)
    assert p_same(a, b) == pytest.approx(proportions_ztest([a.hits, b.hits], [a.n, b.n])[1], rel=1e-9)


def test_a_count_of_zero_has_an_interval() -> None:
    theirs = confint_proportions_2indep(0, 50, 20, 60, compare="ratio", method="log-adjusted")
    assert ratio_interval(Share(0, 50), Share(20, 60)) == pytest.approx(theirs, rel=1e-9)


def test_nobody_and_no_difference() -> None:
    assert wilson(Share(0, 0)) == (0.0, 1.0)
    assert ratio_interval(Share(0, 0), Share(1, 2)) == (0.0, math.inf)
    assert p_same(Share(0, 0), Share(1, 2)) == p_same(Share(5, 5), Share(9, 9)) == 1.0
