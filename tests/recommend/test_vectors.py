"""Neighbours among vectors: the exact comparison against numpy, the index against the exact comparison."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.meaning import ContentMeaning
from opportune.recommend.vectors import ItemVectors
from opportune.testing.sources import query


def unit(rows: int, d: int, seed: int) -> np.ndarray:
    """Clustered, as descriptions of products are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, d))
    found = centres[rng.integers(0, 20, rows)] + 0.5 * rng.normal(size=(rows, d))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_the_exact_answer_is_the_largest_products():
    vectors, asked = unit(300, 16, 1), unit(5, 16, 2)
    found = ItemVectors(16)
    found.put(range(100, 400), vectors)
    for one in asked:
        items, scores = found.nearest(one, 10)
        product = vectors @ one
        best = np.argsort(-product)[:10]
        assert items.tolist() == (best + 100).tolist()
        assert scores == pytest.approx(product[best])


def test_replaced_and_withdrawn_vectors():
    found = ItemVectors(2)
    found.put([1, 2], np.array([[1, 0], [0, 1]], np.float32))
    found.put([1], np.array([[0, 1]], np.float32))
    assert found.nearest(np.array([0, 1], np.float32), 5)[0].tolist() == [2, 1]
    found.put([2], np.zeros((1, 2), np.float32))
    assert found.of(2) is None
    assert found.nearest(np.array([0, 1], np.float32), 5)[0].tolist() == [1]
    assert len(ItemVectors(2).nearest(np.array([0, 1], np.float32), 5)[0]) == 0


def test_the_index_finds_nearly_all_of_what_the_exact_comparison_finds():
    pytest.importorskip("hnswlib", reason="the approximate index needs hnswlib")
    vectors, asked = unit(4000, 24, 3), unit(40, 24, 4)
    exact, quick = ItemVectors(24), ItemVectors(24, exact_up_to=1000)
    for part in np.array_split(np.arange(4000), 3):  # it grows and follows
        exact.put(part.tolist(), vectors[part])
        quick.put(part.tolist(), vectors[part])
        quick.nearest(asked[0], 5)
    assert quick.approximate
    assert not exact.approximate
    shared = [len(np.intersect1d(exact.nearest(q, 50)[0], quick.nearest(q, 50)[0])) for q in asked]
    assert np.mean(shared) / 50 > 0.95
    quick.put([3999], -vectors[[7]])
    assert quick.nearest(-vectors[7], 1)[0].tolist() == [3999]


WORDS = ("cup", "mug", "bench", "lamp")


def encode(texts):
    """Counts of four words; cup and mug mean the same."""
    rows = np.array([[text.count(word) for word in WORDS] for text in texts], np.float32)
    rows[:, 0] += rows[:, 1]
    rows[:, 1] = 0
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def test_items_of_the_same_meaning_are_neighbours_of_the_session():
    source = ContentMeaning(encode, 4)
    source.describe(range(5), ["red cup", "blue mug", "bench", "lamp and bench", ""])
    answer = source.recommend(query(0))
    assert (answer.item.tolist(), answer.because.tolist()) == ([1], [0])
    both = source.recommend(query(0, 2))
    assert (both.item.tolist(), both.because.tolist()) == ([3, 1], [2, 0])
    assert source.recommend(query(item=2)).because.tolist() == [-1]
    assert source.recommend(query(4)).item.tolist() == []
    source.describe([3], ["cup"])
    assert source.recommend(query(0)).item.tolist() == [3, 1]


def test_what_was_said_before_is_not_encoded_again():
    asked: list[str] = []

    def counting(texts):
        asked.extend(texts)
        return encode(texts)

    source = ContentMeaning(counting, 4)
    source.describe([0, 1], ["red cup", "mug"])
    source.describe([0, 1], ["red cup", "blue mug"])
    assert asked == ["red cup", "mug", "blue mug"]


def test_vectors_come_back_without_being_encoded_again():
    source = ContentMeaning(encode, 4)
    source.describe(range(5), ["red cup", "blue mug", "bench", "lamp and bench", ""])
    frozen = source.freeze()
    source.describe([1], ["bench"])

    def never(texts):
        raise AssertionError(f"encoded again: {texts}")

    back = ContentMeaning(never, 4)
    back.restore(frozen())
    back.describe(range(5), ["red cup", "blue mug", "bench", "lamp and bench", ""])
    assert back.recommend(query(0)).item.tolist() == [1]
    other = ContentMeaning(encode, 3)
    other.restore(frozen())
    assert len(other.vectors) == 0
