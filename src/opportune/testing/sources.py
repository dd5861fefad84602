"""The laws of candidate sources, as a test class to inherit from.

A new source is held to them in three lines::

    class TestMySource(SourceConformance):
        def make(self) -> CandidateSource:
            return MySource()
"""

from __future__ import annotations

import numpy as np

from opportune.clock import MINUTE, SECOND
from opportune.recommend.source import Candidates, CandidateSource, Interactions, Query

T0 = 1_760_000_000_000
ITEMS = 60
CATEGORIES = 4


def random_interactions(
    seed: int, touches: int = 600, first_session: int = 0, start: int = T0
) -> Interactions:
    """Interleaved sessions, numbered in order of their first touch, over 60 items of which a few are popular;
    all kinds; mostly in order of time, a few late."""
    rng = np.random.default_rng(seed)
    session = (np.arange(touches) // 5 - rng.integers(0, 3, touches)).clip(0)
    _, first = np.unique(session, return_index=True)
    number = {int(session[at]): first_session + n for n, at in enumerate(np.sort(first))}
    return Interactions(
        session=np.array([number[int(s)] for s in session], np.int64),
        item=(ITEMS * rng.beta(0.8, 2.0, touches)).astype(np.int32),
        kind=rng.choice(3, touches, p=[0.8, 0.15, 0.05]).astype(np.int8),
        time=start + np.arange(touches) * 20 * SECOND - rng.integers(0, 2, touches) * MINUTE,
    )


def joined(a: Interactions, b: Interactions) -> Interactions:
    return Interactions(
        session=np.concatenate((a.session, b.session)),
        item=np.concatenate((a.item, b.item)),
        kind=np.concatenate((a.kind, b.kind)),
        time=np.concatenate((a.time, b.time)),
    )


def cut(interactions: Interactions, first: int, last: int) -> Interactions:
    part = slice(first, last)
    return Interactions(
        interactions.session[part], interactions.item[part], interactions.kind[part], interactions.time[part]
    )


def query(*session: int, count: int = 20, item: int = -1, category: int = 1) -> Query:
    n = len(session)
    return Query(
        session=np.array(session, np.int32),
        kind=np.zeros(n, np.int8),
        age_s=np.zeros(n, np.float32),
        now=T0 + 24 * 60 * MINUTE,
        count=count,
        item=item,
        category=category,
    )


QUERIES = (
    query(),
    query(3),
    query(3, 7, 3, 11),
    query(*range(50)),
    query(5, item=5),
    query(5, 9, item=12),
    query(item=2, category=-1),
    query(1, 2, count=1),
    query(1, 2, count=100, category=3),
    query(4, category=-1),
)


def same(a: Candidates, b: Candidates) -> bool:
    return all(
        one.tolist() == other.tolist()
        for one, other in ((a.item, b.item), (a.score, b.score), (a.because, b.because))
    )


class SourceConformance:
    """Inherit, and say how to make the source. ``learns`` is False for one that ignores interactions."""

    learns = True

    def make(self) -> CandidateSource:
        raise NotImplementedError

    def fitted(self, interactions: Interactions) -> CandidateSource:
        source = self.make()
        source.fit(interactions)
        return source

    def test_it_has_a_name_and_a_reason(self) -> None:
        source = self.make()
        assert source.name.isidentifier()
        assert source.reason.isidentifier()

    def test_answers_are_ranked_unique_and_within_the_count(self) -> None:
        source = self.fitted(random_interactions(1))
        answered = 0
        for asked in QUERIES:
            answer = source.recommend(asked)
            assert len(answer.item) == len(answer.score) == len(answer.because) <= asked.count
            assert answer.item.dtype == np.dtype(np.int32)
            assert answer.score.dtype == np.dtype(np.float32)
            assert np.isfinite(answer.score).all()
            assert (np.diff(answer.score) <= 0).all()
            assert len(np.unique(answer.item)) == len(answer.item)
            assert ((answer.item >= 0) & (answer.item < ITEMS)).all()
            assert set(answer.because.tolist()) <= {-1, *asked.session.tolist()}
            answered += len(answer.item)
        assert answered > 0

    def test_the_same_history_gives_the_same_answers(self) -> None:
        history = random_interactions(2)
        a, b = self.fitted(history), self.fitted(history)
        for asked in QUERIES:
            first = a.recommend(asked)
            assert same(first, a.recommend(asked))
            assert same(first, b.recommend(asked))

    def test_fit_then_update_is_fit_of_both(self) -> None:
        history = random_interactions(3)
        whole = self.fitted(history)
        for step in (1, 7, 100):
            live = self.fitted(cut(history, 0, 300))
            for first in range(300, len(history), step):
                live.update(cut(history, first, min(first + step, len(history))))
                live.recommend(QUERIES[2])
            for asked in QUERIES:
                assert same(live.recommend(asked), whole.recommend(asked))

    def test_fit_forgets(self) -> None:
        source = self.fitted(random_interactions(4))
        source.fit(random_interactions(5))
        other = self.fitted(random_interactions(5))
        for asked in QUERIES:
            assert same(source.recommend(asked), other.recommend(asked))

    def test_it_learns_from_what_just_happened(self) -> None:
        if not self.learns:
            return
        source = self.fitted(random_interactions(6))
        before = [source.recommend(asked) for asked in QUERIES]
        source.update(random_interactions(7, first_session=1000, start=T0 + 4 * 60 * MINUTE))
        assert not all(same(a, source.recommend(b)) for a, b in zip(before, QUERIES, strict=True))

    def test_no_history_is_no_candidates(self) -> None:
        if not self.learns:
            return
        source = self.make()
        for asked in QUERIES:
            assert source.recommend(asked).item.tolist() == []
        source.fit(cut(random_interactions(8), 0, 0))
        source.update(cut(random_interactions(8), 0, 0))
        for asked in QUERIES:
            assert source.recommend(asked).item.tolist() == []

    def test_items_that_nobody_knows_are_ignored(self) -> None:
        history = random_interactions(9)
        source, clean = self.fitted(history), self.fitted(history)
        strange = random_interactions(10, touches=6, first_session=2000)
        strange.item[:] = (-1, -(2**31), 2**31 - 1, 2**30, -7, 2**29)
        source.update(strange)
        for asked in QUERIES:
            assert same(source.recommend(asked), clean.recommend(asked))
        lost = query(2**31 - 1, -5, 2**30, item=2**31 - 1, category=2**31 - 1)
        assert set(source.recommend(lost).because.tolist()) <= {-1}

    def test_unknown_kinds_and_strange_times_do_not_break_it(self) -> None:
        source = self.fitted(random_interactions(11))
        strange = random_interactions(12, touches=6, first_session=3000)
        strange.kind[:] = (-1, 3, 127, -128, 0, 1)
        strange.time[:] = (0, -1, 2**62, T0, T0 + 10**15, 1)
        source.update(strange)
        for asked in QUERIES:
            assert np.isfinite(source.recommend(asked).score).all()

    def test_read_only_and_strided_arrays_are_welcome(self) -> None:
        history = random_interactions(13)
        expected = self.fitted(history)
        doubled = Interactions(*(np.repeat(column, 2)[::2] for column in _columns(history)))
        for column in _columns(doubled):
            column.flags.writeable = False
        source = self.fitted(doubled)
        asked = query(3, 7, 3, 11)
        asked.session.flags.writeable = False
        assert same(source.recommend(asked), expected.recommend(asked))


def _columns(
    interactions: Interactions,
) -> tuple[np.ndarray[tuple[int], np.dtype[np.generic]], ...]:
    return interactions.session, interactions.item, interactions.kind, interactions.time
