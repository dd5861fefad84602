"""What all decisions share goes into a checkpoint of its own, and nobody goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opportune import Engine
from opportune.clock import MINUTE, FixedClock
from opportune.engine.sharing import SharedCheckpoint
from opportune.engine.turns import at_once
from opportune.errors import NotFound
from opportune.experiments.switch import Switch
from opportune.stores.disk import RealDisk
from opportune.stores.records import RecordStore

CLOCK = FixedClock()


def look(engine: Engine, who: str, item: int) -> None:
    engine.ingest(
        {
            "type": "track", "event": "Product Viewed", "userId": who, "messageId": f"{who}-{item}-{CLOCK()}",
            "timestamp": CLOCK(), "properties": {"product_id": f"p{item}", "name": f"Cup {item}"},
        }
    )  # fmt: skip


def shown(engine: Engine) -> list[tuple[str, float]]:
    looks = [{"type": "track", "event": "Product Viewed", "properties": {"product_id": "p3"}}]
    engine._world.timer = lambda: 0
    [found] = engine.decide({"placement": "home_recs", "events": looks}).decisions
    return [(item.item_id, item.score) for item in found.items]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(tmp_path / "shop", clock=CLOCK) as engine:
        for person in range(12):
            for step in range(4):
                CLOCK.advance(1_000)
                look(engine, f"somebody{person}", (person + step) % 9)
        engine.state.switches.fold(Switch("front", "stop", "it hurts", CLOCK()), 1_000)
        yield engine


def shared(engine: Engine, folder: Path, meta: dict[str, Any]) -> None:
    disk = RealDisk(folder)
    made = SharedCheckpoint(engine.state, RecordStore.open(disk), meta, salt=b"salt")
    at_once(made.turns())
    made.finish()
    disk.close()


def test_items_models_and_stopped_experiments_are_in_it_and_people_are_not(
    shop: Engine, tmp_path: Path
) -> None:
    for _ in range(2):  # the second one is whole too
        folder = tmp_path / f"copy{CLOCK()}"
        shared(shop, folder, {})
        written = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
        assert b"Cup 3" in written
        assert b"somebody" not in written
        with Engine.open(folder, clock=CLOCK) as copy:
            assert copy.state.catalog.ids == shop.state.catalog.ids
            assert len(shown(copy)) > 4
            assert shown(copy) == shown(shop)
            assert copy.state.switches.stopped == {"front"}
            with pytest.raises(NotFound):
                copy.profile("user_id:somebody1")
            sessions = shop.state.models.log.sessions
            for engine in (shop, copy):
                look(engine, "somebody1", 8)
                assert engine.state.models.log.sessions == sessions, "the session that was open goes on"
            assert shown(copy) == shown(shop)
        CLOCK.advance(MINUTE)


def test_items_that_events_only_named_come_back(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "shop", clock=CLOCK) as engine:
        engine.ingest([{"item_id": "mug", "name": "Tea mug", "price": 9.5}], dialect="catalog")
        for person in ("a", "b"):
            for item in ("mug", "pot"):
                view = {"type": "track", "event": "Product Viewed", "anonymousId": person}
                engine.ingest({**view, "properties": {"product_id": item}})
        engine.state.models.learn()
        shared(engine, tmp_path / "shared", {})
    with Engine.open(tmp_path / "shared", clock=CLOCK) as engine:
        assert engine.catalog.ids == ["mug", "pot"]
        assert engine.catalog.item(0)["price"] == 9.5
        assert len(engine.state.models.log) == 4
