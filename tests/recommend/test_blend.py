"""Blending against its readable reference."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.blend import blend, blend_slate, blended_scores
from opportune.recommend.slate import Slate
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
    assert blended.proposed.tolist() == [len(found.item) for found, _ in answers]
    for a, (found, _) in enumerate(answers):
        said = dict(zip(found.item.tolist(), found.score.tolist(), strict=True))
        place = {item: at for at, item in enumerate(found.item.tolist())}
        assert blended.said[a].tolist() == [said.get(item, 0.0) for item in best]
        assert blended.place[a].tolist() == [place.get(item, -1) for item in best]


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


def test_what_is_no_item_or_no_number_is_left_out() -> None:
    slate = Slate(1, 6)
    scores = (8.0, float("nan"), 4.0, float("inf"), 2.0, 1.0)
    rows = zip((3, 1, -1, 2, 9, 4), scores, strict=True)
    slate.put(0, answer(*[(item, score, -1) for item, score in rows]))
    blended = blend_slate(slate, np.array([1.0]), 10, n_items=9)
    assert blended.items.tolist() == [3, 4]
    assert blended.scores.tolist() == [1.0, 1 / 8]
    assert blended.proposed.tolist() == [2]


def test_a_slate_grows_and_forgets() -> None:
    slate = Slate(1, 2)
    slate.clear(3, 5)
    slate.put(2, answer(*[(item, 9.0 - item, -1) for item in range(7)]))
    assert slate.found.tolist() == [0, 0, 5]
    assert slate.block[2, 0].tolist() == [0, 1, 2, 3, 4]
    slate.clear(3, 5)
    assert slate.found.tolist() == [0, 0, 0]
