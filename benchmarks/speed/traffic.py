"""The requests of live people, as bytes, made before the load begins."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.openloop import post
from benchmarks.speed.process import WRITE_KEY
from benchmarks.speed.shop import Shop, encode


class Traffic:
    """Everything that the scenarios send. ``tag`` keeps message ids of different scenarios apart."""

    def __init__(self, shop: Shop, live_people: int = 4_000) -> None:
        self.shop = shop
        self.visits = [shop.session(1 + person % 8) or [0] for person in range(live_people)]

    def person(self, number: int) -> str:
        return f"live-{number % len(self.visits)}"

    def opening(self) -> list[bytes]:
        """What the live people did so far, in batches of 100: sent once before measuring."""
        events = [
            self.shop.event(self.person(person), item, f"open-{person}-{step}")
            for person, visit in enumerate(self.visits)
            for step, item in enumerate(visit)
        ]
        return [self._batch(events[at : at + 100]) for at in range(0, len(events), 100)]

    def batches(self, count: int, tag: str) -> list[bytes]:
        """``count`` posts of 100 events each; one event body per post is encoded, ids and people differ."""
        posts = []
        for number in range(count):
            item = int(self.shop.random.integers(self.shop.items))
            body = encode(self.shop.event("PERSON", item, "NUMBER")).decode()
            items = ",".join(
                body.replace("PERSON", self.person(number * 37 + place)).replace(
                    "NUMBER", f"{tag}-{number}-{place}"
                )
                for place in range(100)
            )
            text = f'{{"batch":[{items}],"sentAt":"2026-11-21T20:46:43.700Z","writeKey":"{WRITE_KEY}"}}'
            posts.append(post("/v1/batch", text.encode(), WRITE_KEY))
        return posts

    def _batch(self, events: list[dict[str, Any]]) -> bytes:
        return post("/v1/batch", encode({"batch": events}), WRITE_KEY)

    def singles(self, count: int, tag: str, people: str = "") -> list[bytes]:
        """One event a post, about 650 bytes, each by one of the live (or stored) people."""
        draws = self.shop.random.integers(0, self.shop.items, count)
        posts = []
        for number in range(count):
            person = f"{people}{number * 7919 % 1_000_003}" if people else self.person(number * 7919)
            event = self.shop.event(person, int(draws[number]), f"{tag}-{number}")
            posts.append(post("/v1/track", encode(event), WRITE_KEY))
        return posts

    def decisions(self, count: int, people: list[str] | None = None) -> list[bytes]:
        """Half home, a third beside a product, the rest small requests that bring their events along."""
        posts = []
        for number in range(count):
            visitor = number * 104_729 % len(self.visits)
            person = people[number % len(people)] if people else self.person(visitor)
            visit = self.visits[visitor]
            body: dict[str, Any]
            if number % 6 == 5:
                body = {
                    "session_id": f"inline-{number}",
                    "current_page": f"/product/sku{visit[-1]}",
                    "events_in_session": [
                        {"event": "product_viewed", "product_id": f"sku{item}"} for item in visit
                    ],
                }
                posts.append(post("/api/recommendations", encode(body), WRITE_KEY))
                continue
            body = {
                "placement": "home_recs",
                "identifiers": {"anonymous_id": person},
                "context": {"page": "/"},
            }
            if number % 2:
                item = visit[-1]
                body["placement"] = "pdp_similar"
                body["context"] = {"page": f"/product/sku{item}", "item_id": f"sku{item}"}
            posts.append(post("/v1/decide", encode(body), WRITE_KEY))
        return posts

    def freshness(self, count: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """New people view one product each; the decision that follows must know of it: it gives that product
        as a reason."""
        events, decisions, marks = [], [], []
        for number in range(count):
            item = self.visits[number % len(self.visits)][0]
            person = f"fresh-{number}"
            events.append(post("/v1/track", encode(self.shop.event(person, item, f"f-{number}")), WRITE_KEY))
            body = {"placement": "home_recs", "identifiers": {"anonymous_id": person}}
            decisions.append(post("/v1/decide", encode(body), WRITE_KEY))
            marks.append(f'"item_id":"sku{item}"}}'.encode())
        return events, decisions, marks
