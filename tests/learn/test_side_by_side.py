"""Two orders of the same candidates; truth from scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from opportune.learn.drift import baseline
from opportune.learn.side_by_side import SideBySide, rank_correlation


def test_the_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(30), rng.random(30)
    expected = spearmanr(a, b).statistic
    assert rank_correlation(np.argsort(-a), np.argsort(-b)) == pytest.approx(expected)


def test_lists_are_compared_at_what_was_shown() -> None:
    found = SideBySide(version="r1", against="r0")
    live = np.array([4, 3, 2, 1], np.float32)
    found.add(live, np.array([4, 1, 3, 2], np.float32), 2, live_us=10, shadow_us=30, now=5)
    found.add(live, live, 10, live_us=20, shadow_us=50, now=9)
    scores = baseline([0.0, 1.0, 2.0, 3.0])
    found.spread(scores, np.array([0.0, 1.0, 2.0, 3.0], np.float32))
    told = found.summary(scores)
    assert told["overlap"] == (1 / 2 + 1) / 2
    assert told["same_first"] == 1
    assert told["rank_correlation"] == pytest.approx((1 - 6 * (0 + 4 + 1 + 1) / (4 * 15) + 1) / 2)
    assert (told["live_us"], told["shadow_us"]) == (15, 40)
    assert (told["since"], told["until"]) == (5, 9)
    assert told["score_drift"] == pytest.approx(0, abs=1e-3)
