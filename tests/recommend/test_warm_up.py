"""Loading the kernels ahead of time."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from opportune.recommend import blend, content_kernel, covisitation_kernel, leaderboard, vmis_kernel
from opportune.recommend.covisitation import CoVisitation
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.source import Candidates
from opportune.recommend.warm_up import warm_up
from opportune.testing.sources import query, random_interactions

CALLED_FROM_PYTHON = {
    "add_items",
    "append_clicks",
    "ask_excess",
    "ask_likes",
    "ask_list",
    "ask_pairs",
    "ask_sessions",
    "blend_into",
    "count_pairs",
    "count_touches",
    "move_nodes",
}


def test_after_warming_up_nothing_is_compiled() -> None:
    assert warm_up() > 0
    kernels = [
        kernel
        for module in (blend, content_kernel, covisitation_kernel, leaderboard, vmis_kernel)
        for name, kernel in vars(module).items()
        if name in CALLED_FROM_PYTHON
    ]
    assert len(kernels) == len(CALLED_FROM_PYTHON)
    loaded = [len(kernel.signatures) for kernel in kernels]
    assert all(loaded)
    source = SessionKnn()
    source.fit(random_interactions(1))
    asked = query(1, 2, 3)
    asked.session.flags.writeable = False
    assert len(source.recommend(asked).item) > 0
    neighbours = CoVisitation()
    neighbours.fit(random_interactions(1))
    numpy_numbers = msgspec.structs.replace(asked, item=np.int32(3), count=np.int32(5))
    assert len(neighbours.recommend(numpy_numbers).item) > 0
    assert len(source.recommend(numpy_numbers).item) > 0
    strange = Candidates(np.array([3, 2]), np.array([2.0, 1.0]), np.array([-1, -1]))
    assert blend.blend([(strange, 1.0)], 5).items.tolist() == [3, 2]
    assert source.recommend(asked).score.dtype == np.float32
    assert [len(kernel.signatures) for kernel in kernels] == loaded


def test_linear_algebra_is_imported_by_who_needs_it() -> None:
    """numba imports ``scipy.linalg`` before any kernel runs; a start goes without, and numba still can."""
    pytest.importorskip("scipy", reason="without scipy there is nothing to leave alone")
    script = """
import sys
import numba, numpy
from opportune.recommend.warm_up import warm_up
warm_up()
print("scipy.linalg" in sys.modules)
print(numba.njit(lambda a: numpy.dot(a, a))(2.0 * numpy.eye(2)).tolist(), "scipy.linalg" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["False", "[[4.0, 0.0], [0.0, 4.0]] True"]
