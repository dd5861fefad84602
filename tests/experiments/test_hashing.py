"""Hashes and ranges against GrowthBook's published vectors and its own SDK."""

from __future__ import annotations

import pytest
from growthbook import core
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.experiments.buckets import choose, equal_weights, ranges
from opportune.experiments.hashing import fast_fnv1a32, fnv1a32, growthbook, hasher, layer_hasher

VECTORS = [
    ("", "a", 1, 0.22),
    ("", "b", 1, 0.077),
    ("b", "a", 1, 0.946),
    ("ef", "d", 1, 0.652),
    ("asdf", "8952klfjas09ujk", 1, 0.549),
    ("", "123", 1, 0.011),
    ("", '___)((*":&', 1, 0.563),
    ("seed", "a", 2, 0.0505),
    ("seed", "b", 2, 0.2696),
    ("foo", "ab", 2, 0.2575),
    ("foo", "def", 2, 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 2, 0.124),
    ("90850943850283058242805", "123", 2, 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 2, 0.0128),
]
"""``hash`` of GrowthBook's cases.json (specification 0.7): seed, value, version, number."""


@pytest.mark.parametrize(("seed", "value", "version", "number"), VECTORS)
def test_growthbooks_published_vectors(seed, value, version, number):
    assert growthbook(seed, value, version) == number
    assert hasher(f"growthbook_v{version}", seed)(value) == number


@pytest.mark.parametrize(
    ("text", "h"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("ab", 0x4D2505CA), ("foobar", 0xBF9CF968)]
)
def test_fnv_reference_values(text, h):
    assert fnv1a32(text) == h


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_the_same_as_growthbooks_sdk_for_any_text(seed, value):
    assert growthbook(seed, value, 1) == core.gbhash(seed, value, 1)
    assert growthbook(seed, value, 2) == core.gbhash(seed, value, 2) == hasher("growthbook_v2", seed)(value)
    inside = layer_hasher("growthbook_v2", seed)(value) < 0.4
    assert inside == core.inNamespace(value, (seed, 0, 0.4))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-16-le"), max_size=60), st.integers(0, 2**32 - 1))
def test_the_kernel_equals_the_reference(text, start):
    assert fast_fnv1a32(text, start) == fnv1a32(text, start)


@pytest.mark.parametrize(
    ("weights", "coverage", "expected"),
    [
        ([0.5, 0.5], 1, [(0, 0.5), (0.5, 1)]),
        ([0.5, 0.5], 0.5, [(0, 0.25), (0.5, 0.75)]),
        ([0.5, 0.5], 0, [(0, 0), (0.5, 0.5)]),
        ([0.4, 0.6], 1, [(0, 0.4), (0.4, 1)]),
        ([0.2, 0.3, 0.5], 0.2, [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
        ([0.5, 0.5], -0.2, [(0, 0), (0.5, 0.5)]),
        ([0.5, 0.5], 1.5, [(0, 0.5), (0.5, 1)]),
    ],
)
def test_growthbooks_published_ranges(weights, coverage, expected):
    found = ranges(weights, coverage)
    assert found == [pytest.approx(r) for r in expected]
    assert found == core.getBucketRanges(len(weights), coverage, weights)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0, 1), st.floats(0, 0.999999))
def test_more_coverage_moves_nobody(weights, coverage, number):
    total = sum(weights)
    weights = [w / total for w in weights]
    before = choose(number, ranges(weights, coverage))
    after = choose(number, ranges(weights, min(1.0, coverage * 2)))
    assert before in (-1, after)


def test_salts_know_nothing_of_each_other():
    """Chi-square of independence of two salts over 20,000 units: 9 degrees of freedom, p > 0.001."""
    a, b = hasher("blake2b", "one"), hasher("blake2b", "two")
    counts = [[0] * 4 for _ in range(4)]
    for unit in range(20_000):
        counts[int(a(str(unit)) * 4)][int(b(str(unit)) * 4)] += 1
    expected = 20_000 / 16
    assert sum((n - expected) ** 2 / expected for row in counts for n in row) < 37.7  # 15 df


def test_equal_weights():
    assert equal_weights(4) == [0.25] * 4
