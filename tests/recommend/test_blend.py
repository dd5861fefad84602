"""Blending against its readable reference."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.blend import blend, blended_scores
from opportune.recommend.source import Candidates


def answer(*rows: tuple[int, float, int]) -> Candidates:
    return Candidates(
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int32),
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_blends_as_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(int(rng.integers(1, 6))):
        n = int(rng.integers(0, 40))
        score = np.sort(rng.integers(0, 9, n))[::-1].astype(np.float32)
        found = Candidates(rng.choice(60, n, replace=False).astype(np.int32), score, np.full(n, -1, np.int32))
        answers.append((found, float(rng.integers(0, 4))))
    expected = {item: score for item, score in blended_scores(answers).items() if score > 0}
    blended = blend(answers, 25)
    best = sorted(expected, key=lambda item: (-expected[item], -item))[:25]
    assert blended.items.tolist() == best
    assert blended.scores.tolist() == pytest.approx([expected[item] for item in best])
    for item, bits in zip(blended.items.tolist(), blended.sources.tolist(), strict=True):
        assert bits == sum(1 << a for a, (found, _) in enumerate(answers) if item in found.item)


def test_scores_are_scaled_weighted_and_summed_and_the_largest_part_is_the_reason() -> None:
    blended = blend(
        [(answer((1, 50.0, 7), (2, 25.0, 7)), 1.0), (answer((2, 0.1, 9), (3, 0.05, -1)), 0.8)], 10
    )
    assert blended.items.tolist() == [2, 1, 3]
    assert blended.scores.tolist() == pytest.approx([0.5 + 0.8, 1.0, 0.4])
    assert blended.sources.tolist() == [0b11, 0b01, 0b10]
    assert blended.because.tolist() == [9, 7, -1]


def test_nothing_blends_to_nothing() -> None:
    assert blend([], 5).items.tolist() == []
    assert blend([(answer(), 1.0)], 5).items.tolist() == []
    assert blend([(answer((1, 1.0, -1)), 1.0)], 0).items.tolist() == []
