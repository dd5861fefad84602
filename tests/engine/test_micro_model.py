"""The model that each person has of their own: it follows every event, is shown, and is forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.errors import NotFound
from opportune.profiles.accumulators.preference import PRIOR_AGAINST, PRIOR_FOR
from opportune.recommend.rank_features import FEATURES, no_items
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.ranker import LearnedRanker
from opportune.recommend.tree_scorer import TreeScorer
from opportune.recommend.tree_text import Forest, Link


def test_it_is_seen_in_the_profile_and_gone_when_the_person_is(tmp_path: Path) -> None:
    (tmp_path / "features.yaml").write_text(
        "features:\n"
        "  - {name: taste, event: product_viewed, fold: preference, value: category, half_life: 90d}\n"
    )
    clock = FixedClock()
    with Engine.open(tmp_path / "data", workspace=tmp_path, clock=clock) as engine:
        engine.ingest(
            [{"item_id": f"p{n}", "name": f"Cup {n}", "category": "Cups"} for n in range(3)],
            dialect="catalog",
        )
        for n in range(3):
            engine.ingest(
                {
                    "type": "track", "event": "Product Viewed", "userId": "ada", "messageId": f"m{n}",
                    "timestamp": clock(), "properties": {"product_id": f"p{n}"},
                }
            )  # fmt: skip
            [(value, belief)] = engine.profile("user_id:ada")["features"]["taste"].items()
            views = n + 1
            assert value == "Cups"
            assert abs(belief["events"] - views) < 0.1
            assert abs(belief["mean"] - (PRIOR_FOR + views) / (PRIOR_FOR + PRIOR_AGAINST + views)) < 0.01
        engine.erase("user_id:ada")
        with pytest.raises(NotFound, match="nobody is known by this identifier"):
            engine.profile("user_id:ada")
        clock.advance(60_000)
        engine.ingest({"type": "track", "event": "Product Searched", "userId": "ada", "messageId": "back"})
        assert engine.profile("user_id:ada")["features"]["taste"] == {}


def test_taste_over_item_vectors_follows_each_event_and_whoever_people_are(tmp_path: Path) -> None:
    """p0 and p1 point one way, p2 and p3 another, and p4 against the first."""
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8], [-1, 0]], np.float32)
    clock = FixedClock()
    with Engine.open(tmp_path / "data", clock=clock) as engine:
        engine.ingest([{"item_id": f"p{n}", "name": f"Cup {n}"} for n in range(5)], dialect="catalog")

        def event(name: str, item: str, **who: str) -> None:
            message = f"{name} {item} {sorted(who.items())}"
            engine.ingest(
                {
                    "type": "track", "event": name, "messageId": message, "timestamp": clock(), **who,
                    "properties": {"product_id": item},
                }
            )  # fmt: skip

        def taste(identifier: str = "user_id:ada") -> dict:
            return engine.profile(identifier)["taste"]

        event("Product Viewed", "p0", userId="ada")
        assert taste() == {}  # no model with vectors is live
        ranker = LearnedRanker(
            "ranker/v7",
            TreeScorer(Forest(tuple(FEATURES), (), Link("identity"))),
            RankSignals(16, 16),
            no_items()._replace(vector=vectors),
        )
        engine._world.ranker = ranker
        assert (taste()["vectors"], taste()["evidence"]) == ("ranker/v7", 1)
        # one view of p0: 1 / (1 + 1) for it, in proportion for what points the same way
        toward, away = taste()["toward"], taste()["away"]
        assert [(t["item_id"], t["mean"]) for t in toward] == [("p0", 0.5), ("p1", 0.4)]
        assert [(t["item_id"], t["mean"]) for t in away] == [("p4", -0.5), ("p3", -0.3)]
        assert toward[0]["sd"] == pytest.approx((1 / 2) ** 0.5, abs=1e-4)
        event("Order Completed", "p2", anonymousId="phone")
        assert taste("anonymous_id:phone")["toward"][0]["item_id"] == "p2"
        engine.ingest({"type": "identify", "userId": "ada", "anonymousId": "phone", "messageId": "in"})
        assert [(t["item_id"], t["mean"]) for t in taste()["toward"][:2]] == [("p1", 0.9), ("p2", 0.8333)]
        engine.commit(engine.relink("user_id:ada", "anonymous_id:phone", "reject", who="me"))
        assert taste()["toward"] == toward
        clock.advance(30 * DAY)  # half of the evidence is left
        assert taste()["toward"][0]["mean"] == pytest.approx(0.5 / 1.5, abs=1e-4)
        clock.advance(400 * DAY)
        assert taste() == {}  # faded
        event("Product Viewed", "p1", userId="ada")
        assert taste()["toward"][0]["item_id"] == "p1"
        no = {"consent": {"categoryPreferences": {"Personalization": False}}}
        engine.ingest({"type": "identify", "userId": "ada", "messageId": "no", "context": no})
        assert taste() == {}
        engine.erase("user_id:ada")
        with pytest.raises(NotFound, match="nobody is known by this identifier"):
            taste()
