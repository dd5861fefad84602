"""What a ranker is given of a decision is what it learns of the case that the decision becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opportune import Engine
from opportune.clock import DAY, HOUR, MINUTE
from opportune.decide.replay import replay
from opportune.engine.pasts import pasts_of
from opportune.engine.served import reads_of
from opportune.engine.workspace import load_workspace
from opportune.learn.candidate_rows import cases_of
from opportune.learn.training import by_session, with_pasts
from opportune.profiles.history import HISTORY
from opportune.recommend.past import AGE_S
from opportune.recommend.rank_features import (
    COLUMNS,
    FEATURES,
    FIRST_OF_PAST,
    FIRST_OF_SOURCES,
    SOURCES,
    ItemTable,
    fill_features,
    no_items,
)
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import LearnedRanker
from opportune.recommend.source import Floats, Items, Query
from opportune.recommend.tree_scorer import TreeScorer
from opportune.recommend.tree_text import Forest, Link, Missing, Node, Tree
from opportune.stores.disk import RealDisk

NOW = 1_790_000_000_000
CANDIDATES = np.arange(6, dtype=np.int32)


class Listening:
    """A ranker that keeps what it is told of the person, and the blend's order."""

    name = "ranker/listening"

    def __init__(self) -> None:
        self.told: list[Query] = []

    def score(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> Floats:
        self.told.append(query)
        return blended


def viewed(item: str, at: int, **who: str) -> dict[str, object]:
    message = f"{item}-{at}-{'-'.join(who.values())}"
    return {
        "type": "track", "event": "Product Viewed", "messageId": message, "timestamp": at, **who,
        "properties": {"product_id": item},
    }  # fmt: skip


def features_of(query: Query, items: ItemTable) -> np.ndarray:
    """Every feature of six candidates; signals are empty, for they are the stage's and not the person's."""
    out = np.zeros((COLUMNS, len(CANDIDATES)), np.float32)
    scores = np.ones((len(SOURCES), len(CANDIDATES)), np.float32)
    session = query.session, query.kind, query.age_s
    fill_features(RankSignals(16, 16).arrays, items, *session, query.past, CANDIDATES, scores, out)
    return out


def test_training_reads_what_the_decision_read(tmp_path: Path) -> None:
    now = [NOW - 9 * DAY]
    served: list[Query] = []
    with Engine.open(tmp_path / "data", clock=lambda: now[0]) as engine:
        engine.ingest(
            [viewed(f"p{1 + n % 5}", now[0] - (30 - n) * MINUTE, anonymousId=f"o{n % 7}") for n in range(30)]
        )
        ranker = Listening()
        engine._world.timer = lambda: 0  # no stage is ever late
        engine._world.ranker = ranker
        engine._world.reads = (HISTORY,)

        def visit(items: list[str], event: str = "Product Viewed", **who: str) -> None:
            for place, item in enumerate(items):
                now[0] += MINUTE
                if place:  # the decision is asked for when the next touch is about to come
                    key = {"anonymousId": "anonymous_id", "userId": "user_id"}
                    asked = {key[name]: value for name, value in who.items()}
                    engine.decide({"placement": "home_recs", "identifiers": asked})
                    served.append(ranker.told[-1])
                engine.ingest(viewed(item, now[0], **who) | {"event": event})

        now[0] = NOW - 5 * DAY
        visit(["p1", "p2"], anonymousId="x")
        now[0] += HOUR
        visit(["p2", "p3"], "Order Completed", anonymousId="x")
        engine.ingest(viewed("p5", now[0] + 1, anonymousId="x") | {"event": "Product Dismissed"})
        now[0] += DAY
        engine.ingest({"type": "identify", "userId": "u", "anonymousId": "x", "messageId": "login"})
        now[0] += DAY
        visit(["p3", "p4", "p5"], userId="u")
        now[0] += DAY
        visit(["p1", "p4"], userId="u")
        history, catalog = engine.state.models.log.tail(0), engine.catalog
        [event] = [e for e in [engine.profile("user_id:u")["bought"]] if e]

    assert set(event) == {"p2", "p3"}
    # the first visit knows nothing, the second the first; once logged in, both anonymous visits count
    ids = [[catalog.ids[i] for i in query.past.item] for query in served]
    assert [sorted(one) for one in ids] == [
        [], ["p1", "p2"], *[["p1", "p2", "p3", "p5"]] * 2, ["p1", "p2", "p3", "p4", "p5"],
    ]  # fmt: skip
    touches = by_session(history)
    pasts = pasts_of(RealDisk(tmp_path / "data", read_only=True), load_workspace(None), catalog)
    [cases] = with_pasts([cases_of(touches)], [0], touches, pasts)
    asked = np.flatnonzero(touches.time[cases.at] > NOW - 6 * DAY)
    vector = np.random.default_rng(1).normal(size=(6, 20)).astype(np.float32)
    items = no_items()._replace(vector=vector, category=np.array([0, 0, 1, 1, 2, -1], np.int32))
    assert len(asked) == len(served)
    told = 0
    for case, query in zip(asked, served, strict=True):
        learnt = cases.query(int(case), query.count)
        np.testing.assert_array_equal(learnt.past.item, query.past.item)
        np.testing.assert_array_equal(learnt.past.known, query.past.known)
        one, other = features_of(learnt, items), features_of(query, items)
        np.testing.assert_array_equal(one, other)
        told += int(np.isfinite(one[FIRST_OF_PAST:FIRST_OF_SOURCES]).sum())
    assert told > 100
    # the others had been there or not, and no case knows its own touch
    for case in set(range(len(cases))) - set(asked.tolist()):
        assert (cases.query(case, 20).past.known[AGE_S] > 0).all()


def test_a_decision_is_made_again_with_the_visits_it_knew(tmp_path: Path) -> None:
    now = [NOW]
    with Engine.open(tmp_path / "data", clock=lambda: now[0]) as engine:
        engine.ingest(
            [viewed(f"p{1 + n % 5}", NOW - (30 - n) * MINUTE, anonymousId=f"o{n % 7}") for n in range(30)]
        )
        engine.ingest(viewed("p1", NOW - DAY, userId="u"))
        ranker = Listening()
        engine._world.timer = lambda: 0
        engine._world.ranker = ranker
        engine._world.reads = (HISTORY,)
        ask = {"placement": "home_recs", "identifiers": {"user_id": "u"}}
        answer = engine.decide(ask).decisions[0]
        engine.ingest(viewed("p2", NOW - HOUR, userId="u"))
        record = engine.record(answer.decision_id)
        assert record.features[HISTORY]["item"] == ["p1"]
        replay(engine._world, record)
        first, again = ranker.told
        np.testing.assert_array_equal(again.past.known, first.past.known)
        # who does not allow personalization has no past, and where no ranker looks nobody's is read
        said = {"consent": {"categoryPreferences": {"Personalization": False}}}
        engine.decide({**ask, "context": said})
        assert not len(ranker.told[-1].past.item)
        engine._world.reads = ()
        engine.decide(ask)
        assert not len(ranker.told[-1].past.item)


def test_only_what_some_ranker_looks_at_is_read() -> None:
    node = Node(FIRST_OF_PAST, 0.5, Missing.NAN, False, None, -1, -2)
    forests = [(), (Tree((node,), (0.0, 1.0)),)]
    blind, looking = (
        LearnedRanker(
            "ranker/test",
            TreeScorer(Forest(tuple(FEATURES), trees, Link("identity"))),
            RankSignals(16, 16),
            no_items(),
        )
        for trees in forests
    )
    assert reads_of([blind, None, Listening()]) == ()
    assert reads_of([blind, looking, None, looking]) == (HISTORY,)
