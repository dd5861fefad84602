"""Checks, corrections, plans, quantiles and times against scipy and statsmodels."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from opportune.errors import InvalidRequest
from opportune.experiments.statistics.effects import effect, mean
from opportune.experiments.statistics.multiplicity import benjamini_hochberg, holm
from opportune.experiments.statistics.patterns import day_of_week, novelty
from opportune.experiments.statistics.power import detectable, power_at, sample_size, variance_of_rate
from opportune.experiments.statistics.quantiles import quantile
from opportune.experiments.statistics.ratio_check import chi_square_tail, ratio_check, ratio_checks
from opportune.experiments.statistics.sums import Sums
from opportune.experiments.statistics.survival import curve, log_rank, mean_waiting

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 10, 31])
@pytest.mark.parametrize("x", [0.01, 0.5, 3.84, 12.0, 60.0])
def test_the_chi_square_tail_is_scipys(df, x):
    assert chi_square_tail(x, df) == pytest.approx(stats.chi2.sf(x, df), rel=1e-9)


def test_the_ratio_check_is_pearsons():
    counts, weights = [4_900, 5_100, 10_300], [0.25, 0.25, 0.5]
    expected = stats.chisquare(counts, np.array(weights) * sum(counts))
    found = ratio_check(counts, weights)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.expected == pytest.approx((5_075, 5_075, 10_150))
    assert not found.wrong


def test_the_ratio_check_at_any_time_is_a_dirichlet_bayes_factor():
    counts, shares = np.array([49_000, 51_000]), np.array([0.5, 0.5])
    model = stats.dirichlet_multinomial(2_500 * shares, counts.sum())
    null = stats.multinomial(counts.sum(), shares)
    found = ratio_check(counts.tolist(), shares.tolist())
    assert found.p_any_time == pytest.approx(math.exp(null.logpmf(counts) - model.logpmf(counts)), rel=1e-6)
    assert found.wrong
    assert found.p_any_time < 0.0005


def test_ratio_checks_that_need_no_arithmetic():
    assert ratio_check([0, 0], [0.5, 0.5]).p == 1.0
    assert ratio_check([5, 1], [1.0, 0.0]).wrong
    assert not ratio_check([5, 0], [1.0, 0.0]).wrong


@pytest.mark.parametrize(
    ("counts", "weights", "word"),
    [
        ([0, 0], [0.5, 0.5], "no value yet"),
        ([9, 0], [0.5, 0.5], "no value yet"),  # 4.5 expected in each
        ([5, 5], [0.5, 0.5], "right"),
        ([1, 39], [0.1, 0.9], "no value yet"),  # 4 expected in the smaller
        ([500, 400], [0.5, 0.5], "right"),
        ([5_000, 4_000], [0.5, 0.5], "wrong"),
        ([5, 1], [1.0, 0.0], "wrong"),
    ],
)
def test_the_ratio_check_in_a_word(counts, weights, word):
    assert ratio_check(counts, weights).word == word


def test_a_dimension_is_checked_with_holm():
    found = ratio_checks({"mobile": [5_000, 5_400], "desktop": [9_000, 9_010]}, [0.5, 0.5])
    assert (found["mobile"].wrong, found["desktop"].wrong) == (True, False)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_corrections_are_those_of_statsmodels(n):
    ps = RNG.uniform(0, 0.2, n).tolist()
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(ps) == pytest.approx(multipletests(ps, method="fdr_bh")[1], abs=1e-12)
    assert holm([]) == benjamini_hochberg([]) == []


@pytest.mark.parametrize(
    ("effect_size", "power", "alpha", "share"), [(0.1, 0.8, 0.05, 0.5), (0.03, 0.9, 0.01, 0.2)]
)
def test_power_is_that_of_statsmodels(effect_size, power, alpha, share):
    theirs = NormalIndPower()
    ratio = (1 - share) / share
    n_treated = theirs.solve_power(effect_size, power=power, alpha=alpha, ratio=ratio)
    plan = sample_size(effect_size, 1.0, alpha=alpha, power=power, share=share)
    assert plan.units == pytest.approx(n_treated * (1 + ratio), abs=1)
    assert power_at(5_000, effect_size, 1.0, alpha=alpha, share=share) == pytest.approx(
        theirs.power(effect_size, 5_000 * share, alpha, ratio=ratio), abs=1e-9
    )
    assert detectable(plan.units, 1.0, alpha=alpha, power=power, share=share) == pytest.approx(
        effect_size, rel=1e-3
    )


def test_durations_are_whole_weeks():
    plan = sample_size(0.01, variance_of_rate(0.1), units_per_day=2_000)
    assert plan.days == 7 * math.ceil(plan.units / 2_000 / 7)
    assert sample_size(0.01, 0.09, sequential=True).units > plan.units


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effect": 0, "variance": 1}, "no number of units shows an effect of 0"),
        ({"effect": 0.1, "variance": 0}, "the metric does not vary"),
        ({"effect": 0.1, "variance": 1, "power": 1}, "power must be between 0 and 1, saw 1"),
        ({"effect": 0.1, "variance": 1, "units_per_day": 0}, "no traffic, saw 0"),
    ],
)
def test_plans_that_cannot_be(arguments, message):
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        sample_size(**arguments)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantile_intervals_cover(q):
    """95 % intervals of 400 exponential samples of 500: 380 expected, within four standard deviations."""
    truth, covered = stats.expon.ppf(q), 0
    for _ in range(400):
        found = quantile(RNG.exponential(size=500), q)
        covered += abs(found.value - truth) < 1.96 * math.sqrt(found.variance)
    assert abs(covered - 380) < 4 * math.sqrt(400 * 0.95 * 0.05) + 4
    assert math.isinf(quantile([1.0], q).variance)


def test_waiting_times_are_those_of_statsmodels():
    time = np.round(RNG.exponential(10, 300), 1) + 0.1
    happened = RNG.random(300) < 0.7
    theirs = SurvfuncRight(time, happened)
    mine = curve(time, happened)
    assert mine.time == pytest.approx(theirs.surv_times, abs=1e-9)
    assert mine.waiting == pytest.approx(theirs.surv_prob, abs=1e-9)
    assert mine.se[:-1] == pytest.approx(theirs.surv_prob_se[:-1], abs=1e-9)
    arm = RNG.integers(0, 2, 300).astype(bool)
    chi2, p = survdiff(time, happened, arm)
    assert log_rank(time[arm], happened[arm], time[~arm], happened[~arm]) == pytest.approx(
        (chi2, p), rel=1e-9
    )
    assert log_rank([1.0], [False], [2.0], [False]) == (0.0, 1.0)


def test_the_mean_waiting_time_without_censoring_is_the_mean_of_what_is_left_until_the_horizon():
    time = RNG.exponential(10, 500)
    found = mean_waiting(time, np.ones(500, dtype=bool), 12.0)
    cut = np.minimum(time, 12.0)
    assert found.value == pytest.approx(cut.mean(), rel=1e-9)
    assert found.variance == pytest.approx(cut.var(ddof=0) / 500, rel=1e-6)


def days(effects, n=4_000, noise=0.0):
    return [
        effect(
            mean(Sums.of(RNG.normal(1, 1, n))),
            mean(Sums.of(RNG.normal(1 + e + noise, 1, n))),
        )
        for e in effects
    ]


def test_novelty_that_wears_off_is_seen():
    fading = novelty(days([0.3] * 7 + [0.0] * 7))
    assert fading.seen
    assert (fading.early, fading.late) == pytest.approx((0.3, 0.0), abs=0.05)
    assert not novelty(days([0.1] * 14)).seen
    assert not novelty(days([0.1] * 3)).seen


def test_weekdays_that_differ_are_seen():
    assert day_of_week(days([0.0, 0, 0, 0, 0, 0.4, 0.4])).seen
    assert not day_of_week(days([0.1] * 7)).seen
