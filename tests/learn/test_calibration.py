"""Predicted chances against what happened; truth from statsmodels and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from opportune.learn.calibration import calibration, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 10), (50, 51), (200, 1000)])
def test_the_interval_is_wilsons(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-6)


def test_groups_are_of_equal_size_in_order_of_the_prediction() -> None:
    told = calibration([0.1] * 10 + [0.9] * 10, [True] + [False] * 9 + [True] * 5 + [False] * 5, bins=2)
    assert [(b["rows"], b["predicted"], b["observed"]) for b in told["bins"]] == [
        (10, pytest.approx(0.1), 0.1),
        (10, pytest.approx(0.9), 0.5),
    ]
    assert told["error"] == pytest.approx((0 + 0.4) / 2)
    # 6 of 20 happened; of 6 x 14 pairs, one positive is in the low group (9 ties, 5 lost).
    assert told["auc"] == pytest.approx((5 * 9 + 5 * 5 / 2 + 9 / 2) / (6 * 14), abs=1e-4)
    rate = 6 / 20
    assert told["log_loss_of_base_rate"] == pytest.approx(
        -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate)), abs=1e-6
    )


def test_true_chances_are_calibrated() -> None:
    rng = np.random.default_rng(1)
    chance = rng.random(20_000)
    told = calibration(chance, rng.random(20_000) < chance)
    assert told["error"] < 0.015
    # The area for chances that are even over 0 to 1: 5/6.
    assert told["auc"] == pytest.approx(5 / 6, abs=0.01)
