"""The price level of a person is the same for a decision and for the case that it becomes in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opportune import Engine
from opportune.catalog.items import Catalog
from opportune.clock import DAY, MINUTE
from opportune.engine.price_levels import price_levels_of
from opportune.engine.served import reads_of
from opportune.engine.workspace import load_workspace
from opportune.learn.candidate_rows import cases_of
from opportune.learn.training import by_session, with_price_levels
from opportune.recommend.rank_features import FEATURES, PRICE_LEVEL, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import LearnedRanker, price_level
from opportune.recommend.source import Floats, Items, Query
from opportune.recommend.tree_scorer import TreeScorer
from opportune.recommend.tree_text import Forest, Link, Missing, Node, Tree
from opportune.stores.disk import RealDisk

NOW = 1_790_000_000_000
PRICE = {"p1": 10.0, "p2": 30.0, "p3": 50.0, "p4": 70.0, "p5": 15.0}


class Listening:
    """A ranker that keeps what it is told of the person, and the blend's order."""

    name = "ranker/listening"

    def __init__(self) -> None:
        self.told: list[float] = []

    def score(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> Floats:
        self.told.append(price_level(features))
        return blended


def viewed(item: str, at: int, **who: str) -> dict[str, object]:
    message = f"{item}-{at}-{'-'.join(who.values())}"
    return {
        "type": "track", "event": "Product Viewed", "messageId": message, "timestamp": at, **who,
        "properties": {"product_id": item, "price": PRICE[item]},
    }  # fmt: skip


def test_training_reads_what_the_decision_read(tmp_path: Path) -> None:
    now = [NOW - 9 * DAY]
    served: list[float] = []
    with Engine.open(tmp_path / "data", clock=lambda: now[0]) as engine:
        engine.ingest(
            [viewed(f"p{1 + n % 5}", now[0] - (30 - n) * MINUTE, anonymousId=f"o{n % 7}") for n in range(30)]
        )
        ranker = Listening()
        engine._world.timer = lambda: 0  # no stage is ever late
        engine._world.ranker = ranker
        engine._world.reads = (PRICE_LEVEL,)

        def visit(items: list[str], **who: str) -> None:
            for place, item in enumerate(items):
                if place:
                    key = {"anonymousId": "anonymous_id", "userId": "user_id"}
                    asked = {key[name]: value for name, value in who.items()}
                    engine.decide({"placement": "home_recs", "identifiers": asked})
                    served.append(ranker.told[-1])
                now[0] += MINUTE
                engine.ingest(viewed(item, now[0], **who))

        now[0] = NOW - 5 * DAY
        visit(["p1", "p2"], anonymousId="x")
        now[0] += DAY
        engine.ingest({"type": "identify", "userId": "u", "anonymousId": "x", "messageId": "login"})
        now[0] += DAY
        visit(["p3", "p4", "p5"], userId="u")
        history, catalog = engine.state.models.log.tail(0), engine.catalog

    # before p2: p1; before p4, once logged in: p1, p2 of the anonymous visit too, and p3
    assert served == pytest.approx([10.0, (10 + 30 + 50) / 3, (10 + 30 + 50 + 70) / 4])
    levels = price_levels_of(RealDisk(tmp_path / "data", read_only=True), load_workspace(None), catalog)
    touches = by_session(history)
    [cases] = with_price_levels([cases_of(touches)], [0], touches, levels)
    asked = touches.time[cases.at] > NOW - 6 * DAY
    assert cases.own_price is not None
    assert cases.own_price[asked] == pytest.approx(served)
    # the others: everybody's level is that of what they had viewed before, and never of the touch asked for
    assert len(cases) > asked.sum()
    assert np.isfinite(cases.own_price).all()


def test_without_the_feature_nobody_has_a_level(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "features.yaml").write_text("extends: nothing\nfeatures: []\n")
    with Engine.open(tmp_path / "data") as engine:
        engine.ingest(viewed("p1", NOW, anonymousId="x"))
        catalog = engine.catalog
    disk = RealDisk(tmp_path / "data", read_only=True)
    assert price_levels_of(disk, load_workspace(tmp_path / "ws"), catalog) is None


def test_a_sensitive_level_is_read_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "features.yaml").write_text(
        "features: [{name: price_viewed, fold: mean, value: properties.worth, windows: [30d]}]\n"
    )
    declared = tmp_path / "privacy.yaml"
    disk = RealDisk(tmp_path, read_only=True)
    node = Node(tuple(FEATURES).index("own_price_ratio"), 0.5, Missing.NAN, False, None, -1, -2)
    trees = TreeScorer(Forest(tuple(FEATURES), (Tree((node,), (0.0, 1.0)),), Link("identity")))
    ranker = LearnedRanker("ranker/test", trees, RankSignals(16, 16), no_items())
    for allow, reads in (("features", ()), ("features, placements", (PRICE_LEVEL,))):
        declared.write_text(f"sensitive: [{{path: properties.worth, allow: [{allow}]}}]\n")
        workspace = load_workspace(tmp_path)
        assert reads_of([ranker, None, Listening()], workspace.fence) == reads
        levels = price_levels_of(disk, workspace, Catalog())
        assert (levels is None) == (not reads)
