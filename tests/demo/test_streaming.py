"""The year of orders learnt while the shop is open is the same as loaded before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.demo.conftest import NOW

from opportune import Engine
from opportune.clock import FixedClock
from opportune.demo.load import SOURCE, is_loaded, load, n_events
from opportune.demo.retail import Retail
from opportune.demo.streaming import load_catalogue, load_history


def known(engine: Engine) -> dict[str, Any]:
    customer = engine.profile("user_id:501")
    return {"features": customer["features"], "bought": customer["bought"], "counts": counts(engine)}


def counts(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = engine.accounting()["sources"][SOURCE]
    return found


def test_it_ends_with_what_a_plain_load_gives(retail: Retail, tmp_path: Path) -> None:
    clock = FixedClock(NOW)
    heard: list[int] = []
    with (
        Engine.open(tmp_path / "a", clock=clock) as plain,
        Engine.open(tmp_path / "b", clock=clock) as streamed,
    ):
        load(plain, retail, NOW)
        items = load_catalogue(streamed, retail, NOW)
        assert items == len(retail.codes)
        assert not is_loaded(streamed, retail)
        done = asyncio.run(load_history(streamed, retail, NOW, on_progress=heard.append))
        assert items + done == n_events(retail)
        assert heard[-1] == done
        assert heard == sorted(heard)
        assert known(streamed) == known(plain)
        assert is_loaded(streamed, retail)
    with Engine.open(tmp_path / "b", clock=clock) as again:
        assert is_loaded(again, retail)


def test_requests_come_in_between_and_an_interrupted_load_goes_on(retail: Retail, tmp_path: Path) -> None:
    async def open_shop(engine: Engine) -> int:
        loading = asyncio.get_running_loop().create_task(load_history(engine, retail, NOW))
        decisions = 0
        for _ in range(5):
            await asyncio.sleep(0)
            assert engine.decide({"placement": "home_recs", "count": 3}).decisions
            decisions += 1
        loading.cancel()
        return decisions

    with Engine.open(tmp_path, clock=FixedClock(NOW)) as engine:
        load_catalogue(engine, retail, NOW)
        assert asyncio.run(open_shop(engine)) == 5
        stored = counts(engine)["stored"]
        assert len(retail.codes) < stored < n_events(retail)
    with Engine.open(tmp_path, clock=FixedClock(NOW)) as engine:
        load_catalogue(engine, retail, NOW)
        asyncio.run(load_history(engine, retail, NOW))
        assert is_loaded(engine, retail)
        assert counts(engine)["stored"] == n_events(retail)
