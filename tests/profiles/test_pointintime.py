"""Point-in-time values, and every window, against a brute-force reading of the events themselves."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.clock import DAY, HOUR, MINUTE
from opportune.events.event import Event
from opportune.profiles.definitions import Feature, FeatureSet, default_features
from opportune.profiles.pointintime import values_as_of
from opportune.profiles.schema import ProfileSchema
from opportune.testing.folds import END, START, shop_events

VIEWS = ("product_viewed", "product_clicked")
FEATURES = (
    Feature(name="views", fold="count", event=VIEWS, windows=("5m", "1h", "1d", "30d", "all")),
    Feature(name="items", fold="distinct", event=VIEWS, value="item_id", windows=("60m", "48h", "92d")),
    Feature(name="spend", fold="sum", event="order_completed", value="value", windows=("1d", "7d")),
    Feature(name="dear", fold="max", value="price", windows=("2h",)),
    Feature(name="cheap", fold="min", value="price", windows=("30d", "all")),
    Feature(name="level", fold="mean", event=VIEWS, value="price", windows=("10m", "all")),
    Feature(name="seen", fold="recency", event=VIEWS),
    Feature(name="last", fold="last", value="category", n=3),
    Feature(name="likes", fold="affinity", value="brand", half_life="1d", weights={"order_completed": 3}),
)
SCHEMA = ProfileSchema(FEATURES)

WINDOWS = {
    "5m": (MINUTE, 5), "10m": (MINUTE, 10), "1h": (MINUTE, 60), "60m": (MINUTE, 60), "2h": (HOUR, 2),
    "1d": (HOUR, 24), "48h": (HOUR, 48), "7d": (DAY, 7), "30d": (DAY, 30), "92d": (DAY, 92),
}  # fmt: skip
"""Window -> (bucket, how many whole buckets before the current one)."""


def inside(window: str, time: int, now: int) -> bool:
    if window == "all":
        return True
    bucket, count = WINDOWS[window]
    return time // bucket >= now // bucket - count


def brute(events: list[Event], now: int) -> dict[str, Any]:
    """The features, read off the list of events the slow way."""
    seen = [e for e in events if e.time <= now]
    views = [e for e in seen if e.name in VIEWS]
    orders = [e for e in seen if e.name == "order_completed" and e.value is not None]
    lines = [(e, line) for e in sorted(seen, key=lambda e: e.time) for line in e.lines]
    priced = [(e, line) for e, line in lines if line.price is not None]
    out: dict[str, Any] = {}
    for w in ("5m", "1h", "1d", "30d", "all"):
        out[f"views_{w}"] = sum(inside(w, e.time, now) for e in views)
    for w in ("60m", "48h", "92d"):
        out[f"items_{w}"] = len({x.item_id for e in views for x in e.lines if inside(w, e.time, now)})
    for w in ("1d", "7d"):
        out[f"spend_{w}"] = sum(round(e.value * 10**6) for e in orders if inside(w, e.time, now)) / 10**6
    out["dear_2h"] = max((x.price for e, x in priced if inside("2h", e.time, now)), default=None)
    for w in ("30d", "all"):
        out[f"cheap_{w}"] = min((x.price for e, x in priced if inside(w, e.time, now)), default=None)
    for w in ("10m", "all"):
        prices = [round(x.price * 10**6) for e, x in priced if e.name in VIEWS and inside(w, e.time, now)]
        out[f"level_{w}"] = sum(prices) / len(prices) / 10**6 if prices else None
    out["seen"] = (now - max(e.time for e in views)) / 1000 if views else None
    named = sorted((e.time, x.category) for e, x in lines if x.category)
    out["last"] = [category for _, category in named[-3:]]
    out["likes"] = likes(seen, now)
    return out


def likes(seen: list[Event], now: int) -> dict[str, float]:
    total: dict[str, float] = {}
    for event in seen:
        weight = 3 if event.name == "order_completed" else 1
        for line in event.lines:
            if line.brand:
                total[line.brand] = total.get(line.brand, 0.0) + weight * 0.5 ** ((now - event.time) / DAY)
    return total


def same(read: dict[str, Any], expected: dict[str, Any]) -> None:
    read, expected = dict(read), dict(expected)
    likes_read, likes_expected = read.pop("likes"), expected.pop("likes")
    assert read == expected
    for brand, score in likes_expected.items():
        # Steps of 1/256 of a half-life, 16 half-lives kept, six decimals.
        assert abs(likes_read.get(brand, 0.0) - score) <= 0.004 * score + 1e-3


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(shop_events(max_size=25), st.integers(0, 100 * DAY), st.integers(0, 1000))
def test_late_and_shuffled_events_land_in_the_right_windows(events, later, seed):
    leaf = SCHEMA.zero()
    for number, event in enumerate(random.Random(seed).sample(events, len(events))):
        SCHEMA.fold(leaf, event, number)
    now = max([e.time for e in events], default=START) + later
    same(SCHEMA.read(leaf, now), brute(events, now))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    shop_events(max_size=25, identifiers=(("anonymous_id:a1",), ("user_id:u1", "anonymous_id:a1"))),
    st.lists(
        st.tuples(st.sampled_from(("anonymous_id:a1", "user_id:u1")), st.integers(START, END)), max_size=5
    ),
    st.integers(0, 1000),
)
def test_training_values_are_what_serving_would_have_read(events, asks, seed):
    shuffled = random.Random(seed).sample(events, len(events))
    rows = values_as_of(SCHEMA, iter(shuffled), asks)
    assert len(rows) == len(asks)
    for (key, as_of), row in zip(asks, rows, strict=True):
        mine = [e for e in events if e.leaf == key]
        same(row, brute(mine, as_of))
        served = SCHEMA.zero()
        for number, event in enumerate(e for e in mine if e.time <= as_of):
            SCHEMA.fold(served, event, number)
        assert row == SCHEMA.read(served, as_of)


def test_a_person_of_several_leaves_is_read_as_their_combination():
    events = [
        event("product_viewed", START, ("anonymous_id:a1",)),
        event("product_viewed", START + HOUR, ("user_id:u1",)),
        event("product_viewed", START + 2 * HOUR, ("user_id:u1",)),
    ]
    schema = ProfileSchema([Feature(name="views", fold="count", event="product_viewed")])

    def members(key: str, time: int) -> tuple[str, ...]:
        return ("user_id:u1", "anonymous_id:a1") if time >= START + HOUR else (key,)

    asks = [("user_id:u1", START + 3 * HOUR), ("user_id:u1", START), ("user_id:u1", START + HOUR)]
    assert values_as_of(schema, events, asks, members=members) == [{"views": 3}, {"views": 0}, {"views": 2}]


def test_items_and_sessions_have_keys_of_their_own():
    from opportune.events.event import Line

    both = (Line("p1", 2.0, 3.0), Line("p2", 1.0, 5.0))
    events = [
        event("order_completed", START, ("user_id:u1",), lines=both, session_id="s1"),
        event("order_completed", START + 1, ("user_id:u2",), lines=both[:1], session_id="s2"),
    ]
    items = ProfileSchema(
        [
            Feature(name="sold", fold="sum", event="order_completed", value="quantity", entity="item"),
            Feature(name="orders", fold="count", event="order_completed", entity="item"),
        ],
        "item",
    )
    asks = [("item:p1", START + 1), ("item:p1", START), ("item:p2", START + 1), ("item:p3", START + 1)]
    assert values_as_of(items, events, asks) == [
        {"sold": 2.0 + 2.0, "orders": 2},
        {"sold": 2.0, "orders": 1},
        {"sold": 1.0, "orders": 1},
        {"sold": 0.0, "orders": 0},
    ]
    sessions = ProfileSchema([Feature(name="n", fold="count", entity="session")], "session")
    assert values_as_of(sessions, events, [("session:s2", END), ("session:s3", END)]) == [{"n": 1}, {"n": 0}]


def test_the_shipped_features_give_rfm():
    schema = ProfileSchema.of(default_features(), "person")
    events = [
        event("order_completed", START, ("user_id:u1",), value=19.9),
        event("order_completed", START + 40 * DAY, ("user_id:u1",), value=0.1),
    ]
    (row,) = values_as_of(schema, events, [("user_id:u1", START + 41 * DAY)])
    assert row["order_recency"] == 1 * DAY / 1000
    assert (row["orders_30d"], row["orders_all"]) == (1, 2)
    assert (row["spend_30d"], row["spend_all"]) == (0.1, 20.0)
    assert isinstance(default_features(), FeatureSet)


def event(name: str, time: int, identifiers: tuple[str, ...], **rest: Any) -> Event:
    return Event("track", name, f"m{time}", "web", time, time, identifiers, **rest)
