"""The model that each person has of their own: it follows every event, is shown, and is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from opportune import Engine
from opportune.clock import FixedClock
from opportune.errors import NotFound
from opportune.profiles.accumulators.preference import PRIOR_AGAINST, PRIOR_FOR


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
