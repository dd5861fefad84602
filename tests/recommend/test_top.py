"""Selection of the best against sorting."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.session_knn_config import bucket_of_count as readable_bucket
from opportune.recommend.session_knn_config import count_of_bucket
from opportune.recommend.top import best_first, select_top
from opportune.recommend.vmis_kernel import bucket_of_count, kth_largest


@pytest.mark.parametrize("seed", range(20))
def test_the_best_are_chosen_in_order_ties_towards_newer_items(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 200))
    score = rng.integers(-2, 12, n).astype(np.float64)
    item = rng.permutation(n).astype(np.int32)
    chosen = np.zeros(int(rng.integers(0, 40)), np.int32)
    found = select_top(score, item, n, chosen)
    assert chosen[:found].tolist() == best_first(score, item, len(chosen)).tolist()


@pytest.mark.parametrize("count", [1, 9, 100, 999, 1000, 1500])
@pytest.mark.parametrize("shape", ["random", "ascending", "descending", "alike", "few values"])
def test_the_best_of_many_are_chosen_whatever_their_order(shape: str, count: int) -> None:
    rng = np.random.default_rng(count)
    n = 1000
    score = {
        "random": rng.normal(size=n),
        "ascending": np.arange(n, dtype=np.float64),
        "descending": np.arange(n, 0, -1, dtype=np.float64),
        "alike": np.ones(n),
        "few values": rng.integers(0, 4, n).astype(np.float64),
    }[shape]
    item = rng.permutation(4 * n)[:n].astype(np.int32)
    chosen = np.full(count, -1, np.int32)
    found = select_top(score, item, n, chosen)
    assert chosen[:found].tolist() == best_first(score, item, count).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_the_kth_largest_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, int(rng.integers(1, 60))).astype(np.float64)
    k = int(rng.integers(1, len(values) + 1))
    assert kth_largest(values.copy(), len(values), k) == np.sort(values)[-k]


def test_buckets_of_counts_agree_and_are_four_percent_wide() -> None:
    for count in [*range(1, 5000, 7), 2**20 - 1, 2**20, 2**31]:
        bucket = readable_bucket(count)
        assert bucket_of_count(count) == bucket
        assert count_of_bucket(bucket) <= count <= count_of_bucket(bucket) * 17 / 16
