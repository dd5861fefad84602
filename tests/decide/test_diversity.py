"""Caps and marginal relevance."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from opportune.decide.diversity import marginal_relevance, within_cap

CODES = st.lists(st.integers(-1, 4), max_size=30).map(lambda codes: np.array(codes, dtype=np.int32))


def test_a_cap_passes_over_what_is_too_much_of_one_kind() -> None:
    codes = np.array([7, 7, 7, 3, 7, 3], dtype=np.int32)
    assert within_cap(codes, max_per=2, count=4) == [0, 1, 3, 5]


def test_what_is_shown_already_counts() -> None:
    codes = np.array([7, 3, 7], dtype=np.int32)
    assert within_cap(codes, max_per=1, count=3, shown=[7, -1]) == [1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CODES, st.integers(1, 3), st.integers(1, 10))
def test_a_cap_holds_and_passes_over_nothing_else(codes: np.ndarray, max_per: int, count: int) -> None:
    stays = within_cap(codes, max_per, count)
    assert stays == sorted(set(stays))
    assert len(stays) <= count
    kept = codes[stays].tolist()
    assert all(kept.count(code) <= max_per for code in set(kept) - {-1})
    end = stays[-1] if len(stays) == count and stays else len(codes)
    for position in range(end):
        if position not in stays:
            before = codes[[p for p in stays if p < position]].tolist()
            assert before.count(codes[position]) == max_per


def reference(score: list[float], codes: list[int], count: int, weight: float) -> list[int]:
    """Carbonell & Goldstein as written: argmax of weight x relevance - (1 - weight) x greatest likeness."""
    chosen: list[int] = []
    while len(chosen) < min(count, len(score)):
        best, best_value = -1, -np.inf
        for i in range(len(score)):
            if i in chosen:
                continue
            alike = max([float(codes[i] >= 0 and codes[i] == codes[j]) for j in chosen], default=0.0)
            value = np.float32(weight) * np.float32(score[i]) - np.float32(1.0 - weight) * np.float32(alike)
            if value > best_value:
                best, best_value = i, value
        chosen.append(best)
    return chosen


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CODES, st.integers(0, 8), st.floats(0, 1, width=16), st.randoms(use_true_random=False))
def test_marginal_relevance_agrees_with_its_definition(
    codes: np.ndarray, count: int, weight: float, random: object
) -> None:
    score = np.linspace(1, 0, len(codes)).astype(np.float32)
    ours = marginal_relevance(score, codes, count, weight).tolist()
    assert ours == reference(score.tolist(), codes.tolist(), count, weight)


@pytest.mark.parametrize(("weight", "expected"), [(1.0, [0, 1, 2]), (0.5, [0, 3, 1]), (0.0, [0, 3, 1])])
def test_the_weight_goes_from_relevance_to_variety(weight: float, expected: list[int]) -> None:
    score = np.array([1.0, 0.9, 0.8, 0.7], dtype=np.float32)
    codes = np.array([5, 5, 5, 6], dtype=np.int32)
    assert marginal_relevance(score, codes, 3, weight).tolist() == expected
