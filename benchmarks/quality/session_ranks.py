"""At which rank each case's next item was recommended: the one thing that all metrics are computed from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from benchmarks.quality.session_data import Cases

from opportune.kernels import kernel
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import MAX_SESSION
from opportune.recommend.vmis_kernel import query_index

DEPTH = 20
Ranks = npt.NDArray[np.int32]
"""1 is the top, 0 is not among the first 20."""


@kernel
def _knn_ranks(index, scratch, weights, rarity, sizes, steps, echo, item, first, at, ranks):
    out_item = np.empty(DEPTH, np.int32)
    out_score = np.empty(DEPTH, np.float32)
    out_because = np.empty(DEPTH, np.int32)
    for case in range(len(at)):
        start = max(first[case], at[case] - MAX_SESSION)
        found = query_index(
            index, scratch, weights, rarity, sizes, steps, echo, item[start : at[case]], DEPTH,
            out_item, out_score, out_because,
        )  # fmt: skip
        target = item[at[case]]
        for rank in range(found):
            if out_item[rank] == target:
                ranks[case] = rank + 1
                break


def knn_ranks(source: SessionKnn, cases: Cases) -> Ranks:
    """All cases through the kernel that serves decisions, without the call from Python between them."""
    ranks = np.zeros(len(cases), np.int32)
    _knn_ranks(*source.kernel_state(), cases.item, cases.first, cases.at, ranks)
    return ranks


def hit_rate(ranks: Ranks) -> float:
    return float(np.mean(ranks > 0))


def reciprocal_rank(ranks: Ranks) -> float:
    return float(np.mean(np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)))
