"""What a shop's clients send in an hour: visits of many people at once, every kind of call, late ones too."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.speed.shop import Shop

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
PER_S = 50
"""Events a second of the shop's own time: how many share a minute decides how large profiles grow."""
LATE_S = 60
AT_ONCE = 2_000
"""Visits going on at the same time."""
PER_VISIT = 15
"""Mean number of events of a visit; the shortest has one."""

STEPS: tuple[tuple[str, float], ...] = (
    ("Product Viewed", 0.52),
    ("page", 0.16),
    ("Product List Viewed", 0.09),
    ("Products Searched", 0.06),
    ("Product Added", 0.08),
    ("Product Removed", 0.01),
    ("Checkout Started", 0.02),
    ("Order Completed", 0.02),
    ("identify", 0.03),
    ("Newsletter Opened", 0.01),
)
"""What the events of a visit are, as shares."""

_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)


class Visitor:
    """One person's visit: an anonymous id, from the middle of it on perhaps a login, and items of a taste."""

    def __init__(self, shop: Shop, number: int) -> None:
        chance = shop.chance
        self.number = number
        self.anonymous_id = f"{number:08x}-5f3e-4c1a-9d2b-{number * 2_654_435_761 % (1 << 48):012x}"
        self.user_id = ""
        self.left = 1 + int(chance.expovariate(1 / (PER_VISIT - 1)))
        self.items = shop.session(min(self.left, 40)) or [0]
        self.step = 0


def stream(shop: Shop, count: int, tag: str = "e") -> Iterator[dict[str, Any]]:
    """``count`` calls as browsers send them, 600 to 1,100 bytes each as JSON: visits interleave, a person has
    15 events on average, one event in fifty arrives a minute late and one in two hundred twice."""
    chance = shop.chance
    names = [name for name, _ in STEPS]
    shares = [share for _, share in STEPS]
    visitors: list[Visitor] = []
    met = 0
    late: deque[tuple[int, dict[str, Any]]] = deque()
    for number in range(count):
        if late and number - late[0][0] >= LATE_S * PER_S:
            yield late.popleft()[1]
            continue
        place = chance.randrange(AT_ONCE)
        if place >= len(visitors):
            place = len(visitors)
            visitors.append(Visitor(shop, met))
            met += 1
        visitor = visitors[place]
        if visitor.left == 0:
            visitor = visitors[place] = Visitor(shop, met)
            met += 1
        visitor.left -= 1
        moment = BEGAN + timedelta(seconds=number / PER_S)
        event = _call(shop, visitor, chance.choices(names, shares)[0], f"{tag}{number}", moment)
        if chance.random() < 0.02:
            late.append((number, event))
            if chance.random() < 0.75:
                event = _call(shop, visitor, "Product Viewed", f"{tag}{number}x", moment)
                yield event
                continue
        yield event


def _call(shop: Shop, visitor: Visitor, what: str, number: str, moment: datetime) -> dict[str, Any]:
    visitor.step += 1
    item = visitor.items[visitor.step % len(visitor.items)]
    path = f"/product/sku{item}"
    call: dict[str, Any] = {
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "integrations": {},
        "anonymousId": visitor.anonymous_id,
        "type": "track",
        "properties": {},
        "context": {
            "page": {
                "path": path,
                "referrer": "https://shop.example/",
                "search": "",
                "title": f"Product {item} of category {shop.category[item]}",
                "url": f"https://shop.example{path}",
            },
            "userAgent": _AGENT,
            "locale": "en-GB",
            "timezone": "Europe/London",
            "library": {"name": "analytics.js", "version": "next-1.84.0"},
            "campaign": {},
        },
        "messageId": f"ajs-next-{visitor.anonymous_id[:13]}-{number}",
        "userId": visitor.user_id or None,
    }
    if what == "page":
        call["type"] = "page"
        call["properties"] = dict(call["context"]["page"])
    elif what == "identify":
        visitor.user_id = visitor.user_id or f"u{visitor.number}"
        call["type"] = "identify"
        call["userId"] = visitor.user_id
        call["traits"] = {"email": f"{visitor.user_id}@example.org", "plan": "free", "visits": visitor.step}
        del call["properties"]
    else:
        call["event"] = what
        call["properties"] = _properties(shop, visitor, what, item, number)
    return call


def _properties(shop: Shop, visitor: Visitor, what: str, item: int, number: str) -> dict[str, Any]:
    if what == "Products Searched":
        return {"query": f"category {shop.category[item]}"}
    if what == "Product List Viewed":
        listed = visitor.items[:4]
        return {
            "list_id": "category",
            "category": f"category {shop.category[item]}",
            "products": [{"product_id": f"sku{one}", "position": at + 1} for at, one in enumerate(listed)],
        }
    if what == "Order Completed":
        bought = visitor.items[:2]
        return {
            "order_id": number,
            "total": round(sum(float(shop.price[one]) for one in bought), 2),
            "currency": "GBP",
            "products": [
                {
                    "product_id": f"sku{one}",
                    "name": f"Product {one}",
                    "price": float(shop.price[one]),
                    "quantity": 1,
                }
                for one in bought
            ],
        }
    if what == "Checkout Started":
        return {"order_id": number, "value": float(shop.price[item]), "currency": "GBP"}
    if what == "Newsletter Opened":
        return {"campaign": "autumn", "place": 3}
    return {
        "product_id": f"sku{item}",
        "sku": f"sku{item}",
        "name": f"Product {item} of category {shop.category[item]}",
        "category": f"category {shop.category[item]}",
        "brand": f"brand {shop.brand[item]}",
        "price": float(shop.price[item]),
        "currency": "GBP",
        "quantity": 1,
        "url": f"https://shop.example/product/sku{item}",
        "image_url": f"/images/{item}.svg",
    }
