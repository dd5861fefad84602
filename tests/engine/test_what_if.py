"""Recorded decisions under other placements."""

from __future__ import annotations

from pathlib import Path

import pytest

from opportune import Engine
from opportune.decide.placement import read_placements

# A busy machine must not change an answer: no stage is ever late.
PATIENT = "budget_ms: {total: 60000, candidates: 60000, rank: 60000, policy: 60000, content: 60000}"
SHELF = f"placements:\n- {{name: shelf, sources: [{{source: popular}}], count: 3, {PATIENT}, "
SAME = SHELF + "fallbacks: [newest]}\n"
OTHER = SHELF + "rules: [{pin: i9, rank: 1}]}\n"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A shop with one placement, 200 decisions for strangers, and clicks on the first place of a third."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "placements.yaml").write_text(SAME, encoding="utf-8")
    engine = Engine.open(tmp_path / "data", workspace=workspace)
    engine.ingest([{"item_id": f"i{n}", "name": f"Item {n}"} for n in range(10)], dialect="catalog")
    views = [("a", "i1"), ("a", "i2"), ("b", "i1"), ("b", "i3"), ("c", "i1"), ("c", "i2"), ("d", "i4")]
    engine.ingest(
        [
            {"type": "track", "event": "Product Viewed", "userId": user, "properties": {"product_id": item}}
            for user, item in views
        ]
    )
    clicks = []
    for n in range(200):
        decision = engine.decide({"placement": "shelf", "identifiers": {"user_id": f"v{n}"}}).decisions[0]
        if n % 3 == 0:
            clicks.append(
                {
                    "type": "track",
                    "event": "Product Clicked",
                    "userId": f"v{n}",
                    "properties": {
                        "product_id": decision.items[0].item_id,
                        "decision_id": decision.decision_id,
                    },
                }
            )
    engine.ingest(clicks)
    return engine


def test_the_same_placements_change_nothing(engine: Engine) -> None:
    with engine:
        found = engine.what_if(read_placements(SAME), since=0)
    assert (found.decisions, found.identical, found.places) == (200, 200, 600)
    assert (found.kept, found.moved, found.new, found.drift) == (1.0, 0.0, 0.0, 0.0)
    assert found.logged == pytest.approx(67 / 600)
    assert found.estimates["snips"]["value"] == pytest.approx(67 / 600)
    assert found.verdict == "nothing would have changed: every decision comes out the same"


def test_what_was_never_shown_cannot_be_judged(engine: Engine) -> None:
    with engine:
        found = engine.what_if(read_placements(OTHER), since=0)
    assert found.identical == 0
    assert found.new >= 1 / 3
    assert found.kept + found.moved + found.new == pytest.approx(1.0)
    assert not found.judged
    assert found.verdict.startswith("cannot be judged from this log: 100% of what the new policy would show")


def test_only_the_outcomes_asked_for_count(engine: Engine) -> None:
    with engine:
        assert engine.what_if(read_placements(SAME), since=0, kinds=("buy",)).logged == 0.0


def test_other_placements_and_older_decisions_are_left_alone(engine: Engine) -> None:
    elsewhere = read_placements(SAME.replace("shelf", "cellar"))
    with engine:
        assert engine.what_if(elsewhere, since=0).other_placements == 200
        later = engine.what_if(read_placements(SAME), since=2**45)
    assert later.decisions == 0
    assert later.verdict == "cannot be judged from this log: there is no decision in it"
