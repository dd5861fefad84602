"""Simulated shoppers for the demo, so that live pages have something to show.

Each visitor has a real basket of the data in mind, so what they look at goes together as it did for the
people who bought it. They browse, search, follow recommendations, fill a basket, and some of them buy;
everything goes through the public HTTP endpoint, as a browser's would.
``python -m opportune.demo.visitors --help``.
"""

from __future__ import annotations

import argparse
import http.client
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from opportune.catalog.text import words
from opportune.demo.categories import CATEGORIES
from opportune.demo.retail import Retail
from opportune.simulate.client import Client

MIN_LINES, MAX_LINES = 3, 40


class Step(NamedTuple):
    """What a visitor does next, ``wait_s`` after the step before: an event, or (``event`` empty) a look at
    the placement's recommendations."""

    wait_s: float
    event: str
    properties: dict[str, Any]
    placement: str = ""


class Visitor:
    """One visit: the same seed gives the same steps. ``follow`` may be told what was recommended."""

    def __init__(self, retail: Retail, seed: int) -> None:
        self._retail = retail
        self._random = random.Random(seed)
        number = self._random.getrandbits(64)
        self.anonymous_id = f"visitor-{number:016x}"
        self.session_id = f"visit-{number:016x}"
        self._wanted = self._a_basket()
        self._tempted: list[str] = []
        self._decision_id = ""

    def follow(self, decision_id: str, item_ids: list[str]) -> None:
        """Recommendations that this visitor has just seen."""
        self._decision_id, self._tempted = decision_id, item_ids

    def steps(self) -> Iterator[Step]:
        """From the first page to the last; three to fifteen steps."""
        retail, chance = self._retail, self._random.random
        yield Step(0.0, "", {}, "home_recs")
        in_basket: list[dict[str, Any]] = []
        for item in self._wanted[: self._random.randint(2, 7)]:
            product = self._product(item)
            if chance() < 0.25:
                query = " ".join(words(retail.names[item])[-2:])
                yield Step(self._pause(), "Products Searched", {"query": query})
            elif chance() < 0.3:
                yield Step(self._pause(), "Product List Viewed", {"list_id": product["category"]})
            yield Step(self._pause(), "Product Viewed", product)
            if chance() < 0.5:
                yield Step(self._pause() / 2, "", {"item_id": product["product_id"]}, "pdp_similar")
                chosen = self._follows()
                if chosen:
                    yield Step(
                        self._pause(),
                        "Product Clicked",
                        {"product_id": chosen, "decision_id": self._decision_id},
                    )
                    yield Step(
                        0.4, "Product Viewed", {"product_id": chosen, "decision_id": self._decision_id}
                    )
                    found = next((i for i in self._wanted if retail.codes[i] == chosen), None)
                    if found is not None and chance() < 0.6:
                        in_basket.append({**self._product(found), "quantity": 1})
                        yield Step(self._pause() / 2, "Product Added", in_basket[-1])
            if chance() < 0.3:
                in_basket.append({**product, "quantity": 1})
                yield Step(self._pause() / 2, "Product Added", in_basket[-1])
        if in_basket:
            yield Step(self._pause(), "Cart Viewed", {})
            yield Step(0.3, "", {"item_id": in_basket[-1]["product_id"]}, "cart_upsell")
            if chance() < 0.5:
                total = round(sum(p["price"] for p in in_basket), 2)
                order = {
                    "order_id": self.session_id,
                    "total": total,
                    "currency": "GBP",
                    "products": in_basket,
                }
                yield Step(self._pause(), "Order Completed", order)

    def _follows(self) -> str:
        """The recommendation that this visitor follows, mostly one of what they came for; empty for none."""
        wanted = {self._retail.codes[item] for item in self._wanted}
        liked = [item_id for item_id in self._tempted if item_id in wanted]
        if liked and self._random.random() < 0.8:
            return liked[0]
        return self._random.choice(self._tempted) if self._tempted and self._random.random() < 0.1 else ""

    def _a_basket(self) -> list[int]:
        """Items of a real order of usual size, in random order; late orders are likelier: seasons matter."""
        retail = self._retail
        for _ in range(1_000):
            number = int(retail.n_invoices * self._random.random() ** 0.35)
            start, end = int(retail.first[number]), int(retail.first[number + 1])
            if not retail.refund[number] and MIN_LINES <= end - start <= MAX_LINES:
                items = [i for i in retail.item[start:end].tolist() if not retail.stale[i]]
                if items:
                    self._random.shuffle(items)
                    return items
        return [self._random.randrange(len(retail.codes))]

    def _product(self, item: int) -> dict[str, Any]:
        retail = self._retail
        return {
            "product_id": retail.codes[item],
            "name": retail.names[item],
            "category": CATEGORIES[int(retail.category[item])].title,
            "price": int(retail.pence[item]) / 100,
        }

    def _pause(self) -> float:
        """Seconds on a page: log-normal, about four, seldom more than fifteen."""
        return min(self._random.lognormvariate(1.2, 0.6), 20.0)


class Browser:
    """Speaks to the server for one visitor: one connection, kept open."""

    def __init__(self, base_url: str, write_key: str) -> None:
        self._client = Client(base_url, write_key)

    def act(self, visitor: Visitor, step: Step) -> None:
        """Carry out one step; raises ``OSError`` or ``http.client.HTTPException`` when the server is away."""
        if step.placement:
            body: dict[str, Any] = {
                "placement": step.placement,
                "identifiers": {"anonymous_id": visitor.anonymous_id},
                "session_id": visitor.session_id,
                "context": {**step.properties, "shopper": "simulated"},
            }
            answer = self._client.post("/v1/decide", body)
            for decision in answer.get("decisions", ()):
                visitor.follow(decision["decision_id"], [item["item_id"] for item in decision["items"]])
            return
        now = datetime.now(UTC).isoformat()
        self._client.post(
            "/v1/track",
            {
                "event": step.event,
                "anonymousId": visitor.anonymous_id,
                "properties": step.properties,
                "context": {"sessionId": visitor.session_id, "library": {"name": "opportune-visitors"}},
                "timestamp": now,
                "sentAt": now,
            },
        )

    def close(self) -> None:
        self._client.close()


def crowd(
    retail: Retail,
    browser: Browser,
    *,
    seed: int,
    at_once: int,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """``at_once`` visitors side by side, for ever; a new one comes when one leaves. Yields each step done."""
    arrivals = random.Random(seed)
    queue: list[tuple[float, int, Visitor, Iterator[Step], Step]] = []

    def arrive(at: float) -> None:
        visitor = Visitor(retail, arrivals.getrandbits(48))
        steps = visitor.steps()
        queue.append((at, arrivals.getrandbits(32), visitor, steps, next(steps)))

    started = monotonic()
    for _ in range(at_once):
        arrive(started + arrivals.uniform(0, 8))
    while True:
        queue.sort(key=lambda entry: entry[:2])
        at, tie, visitor, steps, step = queue.pop(0)
        if (wait := at - monotonic()) > 0:
            sleep(wait)
        browser.act(visitor, step)
        yield step
        following = next(steps, None)
        if following is None:
            arrive(monotonic() + arrivals.uniform(1, 6))
        else:
            queue.append((at + following.wait_s, tie, visitor, steps, following))


def main() -> None:
    """Run until the server goes away."""
    parser = argparse.ArgumentParser(description="Simulated shoppers for the demo.")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--write-key", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=8, help="visitors side by side")
    parser.add_argument("--data", type=Path, help="the CSV file that the shop was loaded from")
    arguments = parser.parse_args()
    if arguments.data is None:
        from opportune.demo.packed import shipped

        retail = shipped()
    else:
        from opportune.demo.own_csv import read_csv

        retail = read_csv(arguments.data, lambda line, reason: None)
    browser = Browser(arguments.url, arguments.write_key)
    try:
        for _ in crowd(retail, browser, seed=arguments.seed, at_once=arguments.at_once):
            pass
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"the shop is closed: {error}")
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        browser.close()


if __name__ == "__main__":
    main()
