"""Effects and intervals against statsmodels and scipy, to 1e-6 or better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from opportune.experiments.statistics.effects import cuped_arms, cuped_theta, effect, mean, ratio
from opportune.experiments.statistics.intervals import (
    NOWHERE,
    Interval,
    always_valid,
    believe,
    fixed,
    reach,
    rho,
)
from opportune.experiments.statistics.sums import Sums, total, winsorized

RNG = np.random.default_rng(4)
A = RNG.gamma(1.5, 20, 431)
B = RNG.gamma(1.6, 20, 519)
CLOSE = {"rel": 1e-9, "abs": 1e-12}


def test_welch_is_that_of_statsmodels():
    found = effect(mean(Sums.of(A)), mean(Sums.of(B)))
    compared = CompareMeans(DescrStatsW(B), DescrStatsW(A))
    interval = fixed(found)
    low, high = compared.tconfint_diff(usevar="unequal")
    _, p, df = compared.ttest_ind(usevar="unequal")
    assert (interval.low, interval.high, interval.p, found.df) == pytest.approx((low, high, p, df), **CLOSE)


def test_a_proportion_is_a_mean_of_zeros_and_ones():
    ones = np.repeat([1.0, 0.0], [37, 463])
    whole, short = Sums.of(ones), Sums.of_proportion(500, 37)
    assert (short.n, short.y, short.yy) == pytest.approx((whole.n, whole.y, whole.yy), **CLOSE)


def test_two_proportions_agree_with_the_unpooled_z_test():
    a, b = Sums.of_proportion(10_000, 900), Sums.of_proportion(10_000, 1_000)
    z, p = proportions_ztest([1_000, 900], [10_000, 10_000], prop_var=False)
    found = effect(mean(a), mean(b))
    assert found.difference == pytest.approx(0.01)
    assert fixed(found).p == pytest.approx(p, rel=0.03)  # theirs pools the arms
    assert found.z == pytest.approx(z, rel=0.002)


def test_the_lift_by_the_delta_method_agrees_with_its_gradient():
    a, b = mean(Sums.of(A)), mean(Sums.of(B))
    gradient = np.array([-b.value / a.value**2, 1 / a.value])
    covariance = np.diag([a.variance, b.variance])
    found = effect(a, b)
    assert found.relative == pytest.approx(b.value / a.value - 1, **CLOSE)
    assert found.relative_se == pytest.approx(math.sqrt(gradient @ covariance @ gradient), **CLOSE)


def test_ratio_metrics_agree_with_their_linearization():
    """The delta method's variance is the variance of y - r x over n mean(x)^2."""
    x = RNG.poisson(4, 800) + 1.0
    y = RNG.binomial(x.astype(int), 0.3).astype(float)
    r = y.sum() / x.sum()
    found = ratio(Sums.of(y, x))
    assert found.value == pytest.approx(r, **CLOSE)
    assert found.variance == pytest.approx(np.var(y - r * x, ddof=1) / (800 * x.mean() ** 2), **CLOSE)


def test_cuped_is_the_regression_on_the_covariate():
    """The adjusted difference is the arm's coefficient in an analysis of covariance."""
    import statsmodels.api as sm

    x = RNG.normal(10, 3, 2_000)
    arm = RNG.integers(0, 2, 2_000)
    y = 2 * x + 0.3 * arm + RNG.normal(0, 4, 2_000)
    arms = [Sums.of(y[arm == k], x[arm == k]) for k in (0, 1)]
    fit = sm.OLS(y, sm.add_constant(np.column_stack((arm, x)))).fit()
    assert cuped_theta(arms) == pytest.approx(fit.params[2], **CLOSE)
    found = effect(*cuped_arms(arms))
    assert found.difference == pytest.approx(fit.params[1], **CLOSE)
    assert found.se == pytest.approx(fit.bse[1], rel=0.01)
    plain = effect(mean(arms[0]), mean(arms[1]))
    rho2 = np.corrcoef(x, y)[0, 1] ** 2
    assert (found.se / plain.se) ** 2 == pytest.approx(1 - rho2, rel=0.05)


def test_a_covariate_that_does_not_vary_changes_nothing():
    arms = [Sums.of(A, np.ones_like(A)), Sums.of(B, np.ones_like(B))]
    assert [p.value for p in cuped_arms(arms)] == pytest.approx([A.mean(), B.mean()])


def test_the_mixture_sprt_is_the_integral_that_it_stands_for():
    """Lambda = integral of the likelihood ratio over a normal mixture (Johari et al., 2022)."""
    found = effect(mean(Sums.of(A)), mean(Sums.of(B)))
    n, se = found.n, found.se
    tau = rho(0.05) * se * math.sqrt(n)

    def weighed(theta):
        return math.exp((found.difference * theta - theta**2 / 2) / se**2) * stats.norm.pdf(theta, 0, tau)

    ratio_, _ = integrate.quad(weighed, -10 * tau, 10 * tau, epsabs=1e-13, limit=500)
    assert always_valid(found).p == pytest.approx(min(1, 1 / ratio_), rel=1e-6)


@given(st.floats(-5, 5), st.integers(20, 10**7), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_always_valid_interval_excludes_zero_exactly_when_p_says_so(z, n, alpha):
    se = 0.3
    found = effect(
        mean(Sums(n, 1.0, 0, n * (n - 1) * se**2 / 2)),
        mean(Sums(n, 1.0 + z * se, 0, n * (n - 1) * se**2 / 2)),
    )
    interval = always_valid(found, alpha)
    if abs(abs(z) - reach(2 * n, alpha)) > 1e-6:
        assert interval.excludes_zero == (interval.p < alpha)


def test_the_always_valid_interval_is_wider_and_tightest_where_tuned():
    widths = {n: reach(n) / math.sqrt(n) for n in (1_000, 5_000, 50_000)}
    assert all(reach(n) > 1.96 for n in widths)
    tuned = {t: reach(5_000, tuned_for=t) for t in range(1_000, 20_001, 500)}
    assert min(tuned, key=tuned.get) == pytest.approx(5_000, abs=500)


def test_the_posterior_is_that_of_two_normals():
    found = effect(mean(Sums.of(A)), mean(Sums.of(B)))
    told = believe(found, prior_sd=2.0)
    grid = np.linspace(-25, 25, 400_001)
    weight = stats.norm.pdf(grid, 0, 2) * stats.norm.pdf(found.difference, grid, found.se)
    weight /= weight.sum()
    assert told.mean == pytest.approx(weight @ grid, abs=1e-6)
    assert told.chance == pytest.approx(weight[grid > 0].sum(), abs=1e-4)
    assert told.risk == pytest.approx(weight @ np.maximum(0, -grid), abs=1e-6)
    assert told.risk_of_staying == pytest.approx(weight @ np.maximum(0, grid), abs=1e-6)


def test_arms_without_data_know_nothing():
    found = effect(mean(Sums()), mean(Sums.of(A)))
    assert fixed(found) == always_valid(found) == NOWHERE
    assert believe(found).chance == 0.5
    assert math.isnan(ratio(Sums.of([1, 2], [0, 0])).value)
    nothing = effect(ratio(Sums.of([1, 2], [0, 0])), ratio(Sums.of([1, 2], [1, 1])))
    assert fixed(nothing) == NOWHERE


def test_no_variance_is_certainty():
    same = effect(mean(Sums.of([1, 1])), mean(Sums.of([1, 1])))
    assert fixed(same) == Interval(0.0, 0.0, 1.0)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=20), max_size=6))
def test_sums_of_parts_are_the_sums_of_the_whole(parts):
    whole = [pair for part in parts for pair in part]
    found = total(Sums.of([y for y, _ in p], [x for _, x in p]) for p in parts)
    expected = Sums.of([y for y, _ in whole], [x for _, x in whole])
    for mine, theirs in zip(
        (found.n, found.y, found.x, found.yy, found.xx, found.xy),
        (expected.n, expected.y, expected.x, expected.yy, expected.xx, expected.xy),
        strict=True,
    ):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-4)


def test_winsorizing_is_clipping_at_quantiles():
    low, high = np.quantile(A, [0.05, 0.9])
    assert winsorized(A, 0.05, 0.9) == pytest.approx(np.clip(A, low, high))
    assert len(winsorized([])) == 0
