"""A short run of what ``python -m tests.identity.merges`` does at length."""

from __future__ import annotations

from random import Random

from tests.identity import merges


def test_merging_and_taking_apart_leaves_no_trace():
    assert merges.run(60, seed=1) == 60


def test_the_merges_of_those_cases_do_join_people():
    assert all(merges.joined(Random(f"1-{case}"), case) for case in range(3))
