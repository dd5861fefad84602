"""Who is worth comparing: the index against a plain count of shared pieces."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.identity.matching.candidates import Candidates

pieces = st.lists(st.integers(0, 30), max_size=6, unique=True)


def reference(before: list[list[int]], asked: list[int]) -> dict[int, float]:
    """Record -> the summed rarity of what it shares."""
    counts = Counter(piece for record in before for piece in record)
    return {
        i: sum(math.log(len(before) / counts[p]) + 0.01 for p in asked if p in record)
        for i, record in enumerate(before)
        if set(record) & set(asked)
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=30), pieces, st.integers(0, 30))
def test_the_records_that_share_the_rarest_are_found_packed_or_added(records, asked, packed):
    index = Candidates.packed(records[:packed])
    for record in records[packed:]:
        index.add(record)
    known = reference(records, asked)
    assert sorted(index.find(asked, 100).tolist()) == sorted(known)
    best = sorted((known[i] for i in index.find(asked, 3).tolist()), reverse=True)
    assert np.allclose(best, sorted(known.values(), reverse=True)[:3], atol=1e-4)


def test_a_removed_record_is_not_found():
    index = Candidates.packed([[1, 2], [2, 3]])
    index.remove(1)
    assert index.find([2]).tolist() == [0]


def test_what_thousands_share_is_not_looked_at():
    rng = random.Random(5)
    records = [[7, 1000 + i] for i in range(60_000)]
    index = Candidates.packed(records)
    assert index.find([7]).tolist() == []
    person = rng.randrange(len(records))
    assert index.find([7, 1000 + person]).tolist() == [person]
