"""A recorded stream of a shop: logins, shared browsers, corrections, late, doubled and disordered events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

START_MS = 1_772_000_000_000
MINUTE_MS = 60_000
CATEGORIES = ("shoes", "coats", "hats", "bags", "socks")


def recorded(people: int, *, seed: int = 7, visits: int = 3) -> list[dict[str, Any]]:
    """Tracking calls in the order in which they arrive; about seven per visit.

    A third of the people log in at some visit, one in twenty uses somebody else's browser once, one in fifty
    is taken apart by hand afterwards. 3 % of the calls are sent twice, 5 % arrive up to 40 places late, and
    every twentieth carries a time up to two days old.
    """
    draw = random.Random(seed)
    calls: list[dict[str, Any]] = []
    for person in range(people):
        calls += _life(draw, person, people, visits)
    calls.sort(key=lambda call: str(call["timestamp"]))
    arriving: list[tuple[float, dict[str, Any]]] = []
    for place, call in enumerate(calls):
        late = draw.uniform(1, 40) if draw.random() < 0.05 else 0.0
        arriving.append((place + late, call))
        if draw.random() < 0.03:
            arriving.append((place + draw.uniform(0, 200), call))
    arriving.sort(key=lambda pair: pair[0])
    return [call for _, call in arriving]


def _life(draw: random.Random, person: int, people: int, visits: int) -> Iterator[dict[str, Any]]:
    user, logs_in = f"u{person}", draw.random() < 1 / 3
    known = False
    number = 0
    for visit in range(visits):
        borrowed = draw.random() < 0.05
        browser = f"b{draw.randrange(people) if borrowed else person}"
        time = START_MS + (visit * 5 * 24 * 60 + draw.randrange(4 * 24 * 60)) * MINUTE_MS
        who: dict[str, Any] = {"anonymousId": browser}
        known = known or (logs_in and draw.random() < 0.6)
        if known:
            who["userId"] = user
            number += 1
            yield _call(
                "identify",
                who,
                time,
                f"p{person}-{number}",
                traits={"email": f"{user}@shop.example", "visits": visit},
            )
        for _ in range(draw.randrange(2, 7)):
            number += 1
            time += draw.randrange(1, 9) * 10_000
            when = time - draw.randrange(2 * 24 * 60) * MINUTE_MS if draw.random() < 0.05 else time
            yield _call("track", who, when, f"p{person}-{number}", **_deed(draw))
        if known and draw.random() < 0.02:
            number += 1
            yield _call("track", who, time + 1_000, f"p{person}-{number}", event="identity_unlinked")


def _deed(draw: random.Random) -> dict[str, Any]:
    product = draw.randrange(400)
    line = {
        "product_id": f"i{product}",
        "price": 5 + product % 90,
        "category": CATEGORIES[product % len(CATEGORIES)],
        "brand": f"m{product % 11}",
        "quantity": 1,
    }
    kind = draw.random()
    if kind < 0.65:
        return {"event": "Product Viewed", "properties": line}
    if kind < 0.8:
        return {"event": "Product Added", "properties": line}
    if kind < 0.88:
        return {"event": "Products Searched", "properties": {"query": f"{line['brand']} {line['category']}"}}
    if kind < 0.92:
        return {"event": "Product Removed", "properties": line}
    return {
        "event": "Order Completed",
        "properties": {"order_id": f"o{draw.randrange(10**9)}", "revenue": line["price"], "products": [line]},
    }


def _call(kind: str, who: dict[str, Any], time_ms: int, message_id: str, **more: Any) -> dict[str, Any]:
    told = (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    return {"type": kind, "messageId": message_id, "timestamp": told, **who, **more}
