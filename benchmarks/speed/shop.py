"""A synthetic shop, the same for the same seed: a catalogue, past visits, live and stored people."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

CATEGORIES = 400
BRANDS = 300

encode = msgspec.json.Encoder().encode


class Shop:
    """``items`` products in 400 categories; people stay in a category for a while and like what others like
    (popularity falls off as 1/rank within a category)."""

    def __init__(self, items: int = 40_000, seed: int = 1) -> None:
        self.items = items
        self.random = np.random.default_rng(seed)
        self.chance = random.Random(seed)  # one draw at a time, where numpy's takes microseconds
        self.category = self.random.integers(0, CATEGORIES, items)
        self.brand = self.random.integers(0, BRANDS, items)
        self.price = np.round(np.exp(self.random.normal(3.0, 0.8, items)), 2)
        order = np.argsort(self.category, kind="stable")
        bounds = np.searchsorted(self.category[order], np.arange(CATEGORIES + 1))
        self.of_category = [order[bounds[number] : bounds[number + 1]] for number in range(CATEGORIES)]

    def catalog(self) -> list[dict[str, Any]]:
        return [
            {
                "item_id": f"sku{number}",
                "title": f"Product {number} of category {self.category[number]}",
                "category": f"category {self.category[number]}",
                "brand": f"brand {self.brand[number]}",
                "price": float(self.price[number]),
                "in_stock": bool(number % 50),
                "url": f"/product/sku{number}",
                "image_url": f"/images/{number}.svg",
            }
            for number in range(self.items)
        ]

    def session(self, length: int) -> list[int]:
        """Item numbers of one visit."""
        chance = self.chance
        current = self.of_category[chance.randrange(CATEGORIES)]
        visit = []
        for _ in range(length):
            if chance.random() < 0.15 or not len(current):
                current = self.of_category[chance.randrange(CATEGORIES)]
            if len(current):
                place = int(len(current) ** chance.random()) - 1
                visit.append(int(current[max(place, 0)]))
        return visit

    def event(
        self, person: str, item: int, number: str, *, name: str = "Product Viewed", when: str = ""
    ) -> dict[str, Any]:
        """One tracking call as a browser sends it, about 500 bytes."""
        event: dict[str, Any] = {
            "type": "track",
            "event": name,
            "anonymousId": person,
            "messageId": f"ajs-next-{number}",
            "properties": {
                "product_id": f"sku{item}",
                "name": f"Product {item} of category {self.category[item]}",
                "category": f"category {self.category[item]}",
                "brand": f"brand {self.brand[item]}",
                "price": float(self.price[item]),
                "currency": "GBP",
                "quantity": 1,
            },
            "context": {
                "page": {"path": f"/product/sku{item}", "url": f"https://shop.example/product/sku{item}"},
                "library": {"name": "analytics.js", "version": "next-1.84.0"},
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36",
                "locale": "en-GB",
            },
        }
        if when:
            event["timestamp"] = when
        return event

    def history(self, sessions: int, now_ms: int, *, mean_length: float = 5.0) -> Iterator[dict[str, Any]]:
        """Past visits of one person each over 20 days; one view in ten is added, one visit in 30 buys."""
        chance = self.chance
        lengths = 1 + self.random.poisson(mean_length - 1, sessions)
        for visit in range(sessions):
            moment = now_ms - int((sessions - visit) / sessions * 20 * 86_400_000)
            person = f"past-{visit}"
            for step, item in enumerate(self.session(int(lengths[visit]))):
                at = moment + step * 30_000
                yield {**self.event(person, item, f"h{visit}-{step}"), "timestamp": at}
                if chance.random() < 0.1:
                    yield {
                        **self.event(person, item, f"hc{visit}-{step}", name="Product Added"),
                        "timestamp": at + 5_000,
                    }
            if chance.random() < 1 / 30:
                yield {
                    **self.event(person, item, f"ho{visit}", name="Order Completed"),
                    "timestamp": at + 60_000,
                    "properties": {
                        "order_id": f"o{visit}",
                        "total": float(self.price[item]),
                        "products": [
                            {"product_id": f"sku{item}", "price": float(self.price[item]), "quantity": 1}
                        ],
                    },
                }

    def people(self, count: int, events_each: int, now_ms: int) -> Iterator[dict[str, Any]]:
        """Stored profiles: ``count`` people with a few views each over the last days, cheaply made."""
        picks = self.random.integers(0, self.items, (count, events_each))
        ages = self.random.integers(3_600_000, 20 * 86_400_000, count)
        for person in range(count):
            for step in range(events_each):
                item = int(picks[person, step])
                yield {
                    "type": "track",
                    "event": "Product Viewed",
                    "anonymousId": f"stored-{person}",
                    "messageId": f"s{person}-{step}",
                    "timestamp": int(now_ms - ages[person]) + step * 20_000,
                    "properties": {"product_id": f"sku{item}", "price": float(self.price[item])},
                }
