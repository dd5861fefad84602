"""Groups by average linkage, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from opportune.identity.matching.clusters import CEILING, FLOOR, agglomerate


def same_groups(a, b) -> bool:
    a, b = np.array(a), np.array(b)
    return np.array_equal(a[:, None] == a, b[:, None] == b)


@pytest.mark.parametrize("seed", range(5))
def test_all_thresholds_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    n = 40
    left, right = np.triu_indices(n, 1)
    bits = np.where(rng.random(len(left)) < 0.2, rng.normal(1, 6, len(left)), -30.0)
    matrix = np.full((n, n), 0.0)
    matrix[left, right] = matrix[right, left] = CEILING - np.clip(bits, FLOOR, CEILING)
    tree = linkage(squareform(matrix), "average")
    ours = agglomerate(n, left, right, bits)
    for threshold in (-5.0, -1.0, 0.0, 2.0, 6.0):
        theirs = fcluster(tree, CEILING - threshold, "distance")
        assert same_groups(ours.labels(threshold), theirs), threshold


def test_one_chance_pair_does_not_chain_two_families():
    first, second = [(0, 1), (0, 2), (1, 2)], [(3, 4), (3, 5), (4, 5)]
    pairs = [*first, *second, (2, 3)]
    tree = agglomerate(6, *np.array(pairs).T, np.array([10.0] * 6 + [2.0]))
    assert tree.labels(0.0).tolist() == [0, 0, 0, 3, 3, 3]


def test_nothing_to_join():
    nothing = np.empty(0, np.int64)
    assert agglomerate(3, nothing, nothing, np.empty(0)).labels(0).tolist() == [0, 1, 2]
