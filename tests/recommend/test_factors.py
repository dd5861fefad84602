"""Matrix factorization: what is folded in against the library that trained it, new items, the laws."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.recommend.factors import FactorModel, Factors
from opportune.recommend.source import CandidateSource, Interactions
from opportune.testing.sources import ITEMS, T0, SourceConformance, query, random_interactions

TASTES = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0, 0], [0, 0]], np.float32)


def model(vectors: np.ndarray = TASTES) -> FactorModel:
    return FactorModel(vectors, ridge=0.1, weight=(4.0, 8.0, 12.0))


def touched(session: int, *items: int) -> Interactions:
    n = len(items)
    return Interactions(
        np.full(n, session, np.int64), np.array(items, np.int32), np.zeros(n, np.int8),
        T0 + np.arange(n, dtype=np.int64),
    )  # fmt: skip


class TestFactors(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        return Factors(model(np.random.default_rng(3).normal(size=(ITEMS, 6)).astype(np.float32)))


class TestFactorsWithNewItems(SourceConformance):
    """Half of the items were not there when it was trained."""

    learns = False

    def make(self) -> CandidateSource:
        vectors = np.random.default_rng(3).normal(size=(ITEMS, 6)).astype(np.float32)
        vectors[::2] = 0
        return Factors(model(vectors))


def test_a_session_is_near_what_is_like_its_items():
    source = Factors(model())
    assert source.recommend(query(0)).item.tolist()[:2] == [0, 1]
    assert source.recommend(query(2)).item.tolist()[:2] == [2, 3]
    mixed = source.recommend(query(0, 3))
    assert dict(zip(mixed.item.tolist(), mixed.because.tolist(), strict=True))[1] == 0
    assert source.recommend(query(4)).item.tolist() == []


def test_a_new_item_can_be_recommended_after_its_first_touch():
    source = Factors(model())
    assert 4 not in source.recommend(query(0)).item.tolist()
    source.update(touched(1, 0, 1, 4))
    assert 4 in source.recommend(query(0)).item.tolist()
    assert source.recommend(query(2)).item.tolist()[0] == 2
    source.fit(touched(2, 0))
    assert 4 not in source.recommend(query(0)).item.tolist()


def test_folding_in_is_what_the_library_does():
    pytest.importorskip("implicit", reason="training factors needs implicit")
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    from opportune.learn.factors import train_factors

    trained = train_factors(random_interactions(3), ITEMS, dimensions=8)
    source = Factors(trained)
    theirs = AlternatingLeastSquares(factors=8, regularization=trained.ridge, num_threads=1, use_cg=False)
    theirs.item_factors = trained.vectors
    theirs.user_factors = np.zeros((1, 8), np.float32)
    items, kinds = [3, 7, 11, 3], [0, 1, 2, 0]
    row = np.zeros((1, ITEMS), np.float32)
    for item, kind in zip(items, kinds, strict=True):
        row[0, item] += trained.weight[kind]
    expected = theirs.recalculate_user(np.array([0]), csr_matrix(row))
    assert source.fold_in(items, kinds) == pytest.approx(np.ravel(expected), abs=1e-4)


def test_training_finds_what_goes_together():
    pytest.importorskip("implicit", reason="training factors needs implicit")
    from opportune.learn.factors import train_factors

    rng = np.random.default_rng(1)
    session = np.repeat(np.arange(200), 4)
    item = (rng.integers(0, 10, 800) + 10 * (session % 2)).astype(np.int32)  # two halves that never mix
    history = Interactions(session.astype(np.int64), item, np.zeros(800, np.int8), np.arange(800) + T0)
    source = Factors(train_factors(history, 20, dimensions=2))
    assert (source.recommend(query(3, count=5)).item < 10).all()
    assert (source.recommend(query(13, count=5)).item >= 10).all()
