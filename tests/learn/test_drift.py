"""Histograms of training, and how far away others are; truth by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opportune.learn.drift import SCORE, baseline, counts_of, drift, ranker_baselines, stability_index
from opportune.recommend.rank_features import COLUMNS, FEATURES


def test_bins_are_deciles_with_the_missing_apart() -> None:
    found = baseline([*range(100), *[math.nan] * 25])
    assert len(found.edges) == 9
    assert found.shares == pytest.approx([10 / 125] * 10 + [25 / 125], abs=0.009)
    assert sum(found.shares) == pytest.approx(1)
    assert counts_of(found, [-5.0, 1e9, math.nan, math.nan]).tolist() == [1, *[0] * 8, 1, 2]


def test_a_constant_has_one_bin_and_nothing_known_has_none() -> None:
    assert counts_of(baseline([3.0] * 20), [3.0, 3.0, 4.0]).tolist()[-2:] == [1, 0]
    assert baseline([math.nan] * 4).shares == (0.0, 1.0)


def test_the_index_is_the_sum_over_bins() -> None:
    expected, seen = [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]
    by_hand = -0.1 * math.log(0.4 / 0.5) + 0.1 * math.log(0.4 / 0.3)
    assert stability_index(expected, [40, 40, 20]) == pytest.approx(by_hand)
    assert stability_index(expected, seen) == pytest.approx(stability_index(seen, expected))


def test_what_moved_comes_first() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2000, COLUMNS)).astype(np.float32)
    found = ranker_baselines(rows, rows[:, 0])
    later = rng.normal(size=(2000, COLUMNS)).astype(np.float32)
    later[:, 7] += 1.0
    moved = drift(found, later, later[:, 0])
    names = list(FEATURES)
    assert next(iter(moved)) == names[7]
    # Two normals a standard deviation apart: the index of their deciles is near the divergence, 1.
    assert moved[names[7]] == pytest.approx(1.0, abs=0.3)
    assert max(moved[name] for name in (*names[:7], SCORE)) < 0.05
