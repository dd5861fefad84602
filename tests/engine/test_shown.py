"""What people were shown and clicked, read back from the journal, and made into rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from opportune import Engine
from opportune.engine.history import read_entries
from opportune.engine.shown import shown_lists
from opportune.engine.workspace import load_workspace
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.impressions import Shown, impression_rows
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.session_knn import SessionKnn, SessionKnnConfig
from opportune.stores.disk import RealDisk

NOW = 1_790_000_000_000


def event(name: str, who: str, item: str, at: int, **more: object) -> dict[str, object]:
    properties = {"product_id": item, **more}
    return {
        "type": "track", "event": name, "anonymousId": who, "messageId": f"{who}-{name}-{item}-{at}",
        "timestamp": at, "properties": properties,
    }  # fmt: skip


def test_lists_that_were_acted_on(tmp_path: Path) -> None:
    now = [NOW]
    with Engine.open(tmp_path / "data", clock=lambda: now[0]) as engine:
        engine.ingest(
            [
                event("Product Viewed", f"a{n}", f"p{(n + step) % 6}", NOW - 9_000_000 + n * 60_000 + step)
                for n in range(30)
                for step in range(3)
            ]
        )
        made = []
        for who in ("x", "y"):
            engine.ingest(event("Product Viewed", who, "p1", now[0] - 5_000))
            made += engine.decide(
                {"placement": "home_recs", "identifiers": {"anonymous_id": who}, "count": 4}
            ).decisions
            now[0] += 60_000
        first = made[0]
        clicked = first.items[2].item_id
        engine.ingest(event("Product Clicked", "x", clicked, now[0], decision_id=first.decision_id))
        engine.ingest(event("Product List Viewed", "y", "p2", now[0], decision_id=made[1].decision_id))

        def lists(placement: str) -> list[Shown]:
            disk = RealDisk(tmp_path / "data", read_only=True)
            return shown_lists(read_entries(disk, load_workspace(None)), engine.catalog, placement)

        found = lists("home_recs")
        assert lists("pdp_similar") == []
        numbers = engine.catalog.number
        history = engine.state.models.log.tail(0)

    [one] = found
    assert one.items == tuple(numbers(item.item_id) for item in first.items)
    assert one.clicked == {numbers(clicked)}
    assert one.session == (numbers("p1"),)
    assert (one.kind, one.age_s, one.time) == ((0,), (5.0,), NOW)

    knn = SessionKnn(SessionKnnConfig(capacity_clicks=1 << 10, capacity_items=16))
    stage = CandidateStage([(knn, 1.0)], RankSignals(16, 1 << 10), 10)
    stage.fit(history)
    rows, place = impression_rows(stage, found)
    assert rows.item.tolist() == [item for item in one.items if item in set(rows.item.tolist())]
    assert rows.item[rows.hit].tolist() == [numbers(clicked)]
    assert [one.items[at] for at in place] == rows.item.tolist()
    assert np.isfinite(rows.features[:, 0]).all()
