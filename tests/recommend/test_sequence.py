"""The sequence model in service: kernel against formulas, reach, new items, the laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from opportune.errors import InvalidDefinition
from opportune.recommend.sequence import FRESH, SequenceSource
from opportune.recommend.sequence_model import SequenceModel, neighbours_of
from opportune.recommend.sequence_reference import attention_weights, direction, likelihoods
from opportune.recommend.source import CandidateSource, Interactions
from opportune.testing.sources import ITEMS, T0, SourceConformance, query

WINDOW = 6


def model(items: int = ITEMS, d: int = 8, seed: int = 3, neighbours: int = ITEMS) -> SequenceModel:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    vectors = drawn(items, d)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    value = 0.3 * drawn(d, d)
    return SequenceModel(
        vectors=vectors,
        attention=drawn(d, d),
        importance=drawn(d),
        distance=drawn(WINDOW),
        value=value,
        returns=np.array([0.01, 0.1, 0.08, 0.05, 0.03, 0.02], np.float32),
        neighbours=neighbours_of(vectors, value, neighbours),
        sharpness=9.0,
    )


def without(found: SequenceModel, *items: int) -> SequenceModel:
    """The same model, had these items not been in the training."""
    arrays = found.arrays()
    vectors = found.vectors.copy()
    vectors[list(items)] = 0.0
    neighbours = neighbours_of(vectors, found.value, found.neighbours.shape[1])
    return SequenceModel.of_arrays({**arrays, "vectors": vectors, "neighbours": neighbours})


def touched(session: int, *items: int) -> Interactions:
    n = len(items)
    return Interactions(
        np.full(n, session, np.int64), np.array(items, np.int32), np.zeros(n, np.int8),
        T0 + np.arange(n, dtype=np.int64),
    )  # fmt: skip


class TestSequence(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        return SequenceSource(model())


class TestSequenceWithNewItems(SourceConformance):
    """Half of the items were not there when it was trained."""

    learns = False

    def make(self) -> CandidateSource:
        return SequenceSource(without(model(), *range(0, ITEMS, 2)))


SESSIONS = ([4], [4, 9], [1, 2, 3, 2, 1], [5, 5, 5], list(range(20)), [7, -1, 3000, 8])


@pytest.mark.parametrize("session", SESSIONS)
def test_the_kernel_follows_the_formulas(session: list[int]) -> None:
    found = model()
    expected = likelihoods(found, session)
    answer = SequenceSource(found).recommend(query(*session, count=ITEMS))
    assert dict(zip(answer.item.tolist(), answer.score.tolist(), strict=True)) == pytest.approx(
        expected, rel=2e-4
    )
    assert answer.item.tolist() == sorted(expected, key=lambda j: (-expected[j], -j))
    assert sum(answer.score.tolist()) == pytest.approx(1.0, rel=1e-4)


def test_attention_counts_the_newest_touches_of_known_items_alone() -> None:
    found = without(model(), 7)
    assert len(attention_weights(found, [7, 1, 7, 2])) == 2
    assert len(attention_weights(found, list(range(10, 40)))) == WINDOW
    assert direction(found, [1, 7, 2]).tolist() == direction(found, [1, 2]).tolist()


def test_the_fit_of_any_item_can_be_asked() -> None:
    found = without(model(), 7)
    fit = SequenceSource(found).fits(query(1, 2), np.array([3, 7, -1, ITEMS], np.int32))
    cosine = found.vectors[3] @ direction(found, [1, 2])
    assert fit[0] == pytest.approx(math.exp(9.0 * (cosine - 1.0)), rel=1e-4)
    assert fit[1:].tolist() == [0, 0, 0]
    assert SequenceSource(found).fits(query(7), np.array([3], np.int32)).tolist() == [0]


def test_few_neighbours_reach_most_of_what_all_of_them_would() -> None:
    items = 2000
    rng = np.random.default_rng(8)
    centres = rng.normal(size=(40, 8))
    vectors = (centres[np.arange(items) % 40] + 0.4 * rng.normal(size=(items, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shape = with_neighbours(model(items, neighbours=1), vectors)
    whole, quick = SequenceSource(shape(items - 1)), SequenceSource(shape(64))
    kept = [
        len(set(whole.recommend(asked).item.tolist()) & set(quick.recommend(asked).item.tolist())) / 20
        for asked in (query(*rng.integers(0, items, 3).tolist(), count=20) for _ in range(50))
    ]
    assert np.mean(kept) > 0.85


def with_neighbours(base: SequenceModel, vectors: npt.NDArray[np.float32]) -> Callable[[int], SequenceModel]:
    value = np.zeros_like(base.value)
    arrays = {**base.arrays(), "vectors": vectors, "value": value}
    return lambda count: SequenceModel.of_arrays(
        {**arrays, "neighbours": neighbours_of(vectors, value, count)}
    )


def test_a_new_item_can_be_recommended_after_its_first_touch() -> None:
    source = SequenceSource(without(model(), 4))
    assert 4 not in source.recommend(query(1, 2, count=ITEMS)).item.tolist()
    source.update(touched(1, 1, 2, 4))
    answer = source.recommend(query(1, 2))
    assert 4 in answer.item.tolist()[:3]
    assert answer.because[answer.item.tolist().index(4)] in (1, 2)
    source.fit(touched(2, 1))
    assert 4 not in source.recommend(query(1, 2, count=ITEMS)).item.tolist()


def test_only_the_newest_new_items_are_compared() -> None:
    source = SequenceSource(model())
    source.update(touched(1, 1, *range(ITEMS, ITEMS + FRESH + 2)))
    new = {j for j in source.recommend(query(2, count=1000)).item.tolist() if j >= ITEMS}
    assert new == set(range(ITEMS + 2, ITEMS + FRESH + 2))


def test_arrays_come_back_from_disk_mapped(tmp_path: Path) -> None:
    found = model()
    for name, array in found.arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = SequenceModel.of_arrays(
        {name: np.load(tmp_path / f"{name}.npy", mmap_mode="c") for name in found.arrays()}
    )
    asked = query(3, 7, 3)
    answers = [SequenceSource(one).recommend(asked) for one in (found, mapped)]
    assert answers[0].item.tolist() == answers[1].item.tolist()
    assert answers[0].score.tolist() == answers[1].score.tolist()


def test_neighbours_are_the_nearest_without_the_item_itself() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 0]], np.float32)
    no_change = np.zeros((2, 2), np.float32)
    assert neighbours_of(vectors, no_change, 3).tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1], [-1, -1, -1]]
    turned = np.array([[-1, 1], [-1, -1]], np.float32)  # with it, (1, 0) leads to (0, 1)
    assert neighbours_of(vectors, turned, 1)[0].tolist() == [2]


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    arrays = {**model().arrays(), "value": np.zeros((3, 3), np.float32)}
    with pytest.raises(InvalidDefinition, match=r"sequence model's value should have the shape \(8, 8\)"):
        SequenceModel.of_arrays(arrays)
