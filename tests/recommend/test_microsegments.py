"""Kinds of sessions, on two circles of items that never mix."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.learn.microsegments import train_microsegments
from opportune.recommend.microsegments import MicrosegmentModel, Microsegments
from opportune.recommend.replaceable import Replaceable
from opportune.recommend.source import CandidateSource, Interactions
from opportune.testing.sources import ITEMS, SourceConformance, query

pytest.importorskip("sklearn", reason="the `learn` extra is not installed")


def made() -> MicrosegmentModel:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(ITEMS, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.stack([rng.permutation(ITEMS)[:6] for _ in range(3)]).astype(np.int32)
    scores = np.sort(rng.random((3, 6)).astype(np.float32))[:, ::-1].copy()
    return MicrosegmentModel(vectors, vectors[:3].copy(), order, scores)


class TestMicrosegments(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        return Microsegments(made())


class TestReplaceable(SourceConformance):
    learns = False

    def make(self) -> CandidateSource:
        source = Replaceable("microsegments", "popular")
        source.serve(Microsegments(made()), Interactions(*(np.zeros(0, np.int64) for _ in range(4))))
        return source


def circles(sessions: int = 400) -> Interactions:
    """Sessions within items 0-39 or 40-79; of each circle the first five are touched three times as often."""
    rng = np.random.default_rng(2)
    weight = np.where(np.arange(40) < 5, 3.0, 1.0)
    rows = []
    for session in range(sessions):
        first = 40 * int(rng.integers(0, 2))
        rows += [(session, first + int(i)) for i in rng.choice(40, 5, p=weight / weight.sum())]
    session_column, item = map(np.array, zip(*rows, strict=True))
    n = len(rows)
    return Interactions(
        session_column.astype(np.int64),
        item.astype(np.int32),
        np.zeros(n, np.int8),
        np.arange(n, dtype=np.int64),
    )


def test_a_session_is_shown_what_its_circle_likes() -> None:
    model, told = train_microsegments(circles(), 81, segments=2, dimensions=8)
    source = Microsegments(model)
    assert told["sessions"] == 400
    assert told["smallest"] + told["largest"] == 400
    assert source.segment(np.array([1, 2], np.int32)) != source.segment(np.array([50, 60], np.int32))
    for session, circle in (((7, 8), range(5)), ((47, 48), range(40, 45))):
        best = source.recommend(query(*session)).item.tolist()[:5]
        assert sorted(best) == list(circle)
    assert source.recommend(query(80)).item.tolist() == []  # nobody touched it


def test_a_source_without_a_model_proposes_nothing_until_one_is_put_in() -> None:
    source = Replaceable("microsegments", "popular")
    assert len(source.recommend(query(1)).item) == 0
    source.serve(Microsegments(made()), Interactions(*(np.zeros(0, np.int64) for _ in range(4))))
    assert len(source.recommend(query(1)).item) == 6
    source.serve(None, Interactions(*(np.zeros(0, np.int64) for _ in range(4))))
    assert len(source.recommend(query(1)).item) == 0


def test_too_few_sessions_are_said() -> None:
    with pytest.raises(InvalidRequest, match="too few sessions for 64 segments"):
        train_microsegments(circles(50), 81)
