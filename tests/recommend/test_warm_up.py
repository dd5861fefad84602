"""Loading the kernels ahead of time."""

from __future__ import annotations

import numpy as np

from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.vmis_kernel import query_index
from opportune.recommend.warm_up import warm_up
from opportune.testing.sources import query, random_interactions


def test_after_warming_up_nothing_is_compiled() -> None:
    assert warm_up() > 0
    compiled = len(query_index.signatures)  # type: ignore[attr-defined]
    source = SessionKnn()
    source.fit(random_interactions(1))
    asked = query(1, 2, 3)
    asked.session.flags.writeable = False
    assert len(source.recommend(asked).item) > 0
    assert source.recommend(asked).score.dtype == np.float32
    assert len(query_index.signatures) == compiled  # type: ignore[attr-defined]
