"""The year as events, into a real engine, again and again."""

from __future__ import annotations

from pathlib import Path

from tests.demo.conftest import FIRST_DAY, NOW

from opportune import Engine
from opportune.clock import DAY, FixedClock
from opportune.demo.load import SOURCE, catalogue_events, history_events, is_loaded, load, n_events, shift_ms
from opportune.demo.retail import Retail


def test_catalogue_events_carry_what_a_shop_needs(retail: Retail) -> None:
    events = list(catalogue_events(retail, NOW))
    assert len(events) == 18
    first = events[0]
    assert (first.kind, first.item_id, first.identifiers) == ("item", "10000", ())
    assert first.properties == {
        "name": "Red Glass Candle No 0",
        "category": "Candles & Lanterns",
        "price": 2.51,
        "currency": "GBP",
        "in_stock": True,
        "image_url": "/pictures/10000.svg",
        "url": "/product/10000",
    }


def test_history_ends_yesterday_and_keeps_the_time_of_day(retail: Retail) -> None:
    events = list(history_events(retail, NOW))
    last = events[-1]
    assert last.time // DAY == NOW // DAY - 1
    assert last.time % DAY == 600 * 60_000
    unshifted = list(history_events(retail, NOW, shift=False))
    assert unshifted[-1].time // DAY == FIRST_DAY + 59
    assert shift_ms(retail, NOW) == (20_000 - 1 - (FIRST_DAY + 59)) * DAY


def test_orders_returns_guests_and_customers(retail: Retail) -> None:
    events = list(history_events(retail, NOW))
    names = [event.name for event in events]
    assert names.count("order_completed") == 59
    assert names.count("order_refunded") == 1
    assert names.count("identify") == 6
    guests = [e for e in events if e.leaf.startswith("anonymous_id:guest-")]
    assert len(guests) == 6
    order = next(e for e in events if e.name == "order_completed")
    assert order.value == 1 * 2.50 + 2 * 2.51 + 3 * 2.52
    assert [line.quantity for line in order.lines] == [1, 2, 3]
    identify = events[0]
    assert (identify.kind, identify.traits) == ("identify", {"name": "Customer 501", "country": "EIRE"})
    assert identify.time == events[1].time
    assert len(events) + 18 == n_events(retail)


def test_loading_twice_stores_once_and_resumes(retail: Retail, tmp_path: Path) -> None:
    clock = FixedClock(NOW)
    with Engine.open(tmp_path, clock=clock) as engine:
        # As if the first load had been interrupted half way.
        half = [*catalogue_events(retail, NOW), *list(history_events(retail, NOW))[:30]]
        engine.ingest(half, source=SOURCE)
        assert not is_loaded(engine, retail)
        clock.advance(DAY)
        heard: list[int] = []
        assert load(engine, retail, clock(), on_progress=heard.append) == n_events(retail)
        assert heard[-1] == n_events(retail)
        assert is_loaded(engine, retail)
        counts = engine.accounting()["sources"][SOURCE]
        assert counts["stored"] == n_events(retail)
        assert counts["duplicate"] == len(half)
        customer = engine.profile("user_id:501")
        assert customer["traits"]["name"]["value"] == "Customer 501"
        assert len(engine.catalog) == 18


def test_what_goes_together_is_recommended_together(engine: Engine) -> None:
    request = {
        "placement": "pdp_similar",
        "context": {"item_id": "10001"},
        "count": 3,
        "events": [{"event": "product_viewed", "product_id": "10001"}],
    }
    decision = engine.decide(request).decisions[0]
    assert {item.item_id for item in decision.items} <= {f"1000{i}" for i in range(6)} - {"10001"}
    assert len(decision.items) == 3
