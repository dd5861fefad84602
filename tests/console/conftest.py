"""A real engine that has seen a little of everything, and the console over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.demo.asgi import Client

from opportune import Engine
from opportune.clock import MINUTE, FixedClock
from opportune.console import create_console
from opportune.server.auth import Keys
from opportune.server.sessions import Sessions

KEYS = Keys(write="wk_test", secret="sk_test")
NOW = 1_760_000_000_000


class Seen(msgspec.Struct):
    """The engine, its clock, and the ids of what happened."""

    engine: Engine
    clock: FixedClock
    decision_id: str = ""
    letter_id: str = ""


def item(number: int) -> dict[str, Any]:
    return {
        "item_id": f"i{number}",
        "name": f"Thing <{number}>",
        "category": "Mugs" if number % 2 else "Bags",
        "price": 5.0 + number,
    }


@pytest.fixture
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    clock = FixedClock(NOW)
    with Engine.open(tmp_path_factory.mktemp("console"), clock=clock) as engine:
        found = Seen(engine, clock)
        engine.ingest([item(n) for n in range(12)], source="feed", dialect="catalog")
        for person in range(6):
            engine.ingest(
                [view(f"a{person}", n, f"m{person}-{n}") for n in range(person, person + 4)], source="web"
            )
        engine.ingest(
            [
                view("ada-browser", 1, "m-1"),
                view("ada-browser", 3, "m-2"),
                {
                    "type": "identify",
                    "userId": "ada",
                    "anonymousId": "ada-browser",
                    "traits": {"name": "Ada <b>", "plan": "gold"},
                    "messageId": "m-3",
                },
                {
                    "type": "track",
                    "event": "Products Searched",
                    "userId": "ada",
                    "properties": {"query": "red mug"},
                },
                # A second login on the same browser: never joined.
                {"type": "identify", "userId": "grace", "anonymousId": "ada-browser", "messageId": "m-4"},
            ],
            source="web",
        )
        receipt = engine.ingest(
            [{"type": "track", "userId": "ada", "properties": {"price": "<i>free</i>"}}], source="web"
        )
        found.letter_id = receipt.verdicts[0].letter_id
        clock.advance(MINUTE // 2)
        decision = engine.decide(
            {"placement": "home_recs", "identifiers": {"user_id": "ada"}, "context": {"page": "/"}}
        ).decisions[0]
        found.decision_id = decision.decision_id
        clock.advance(5_000)
        bought = {**view("ada-browser", 5, "m-9"), "userId": "ada", "event": "Product Added"}
        bought["properties"] = {"product_id": decision.items[0].item_id, "decision_id": decision.decision_id}
        engine.ingest([bought], source="web")
        clock.advance(2_000)
        yield found


def view(anonymous_id: str, number: int, message_id: str) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": anonymous_id,
        "messageId": message_id,
        "properties": {"product_id": f"i{number}"},
        "context": {"sessionId": f"s-{anonymous_id}"},
    }


@pytest.fixture
def visitor(seen: Seen) -> Client:
    """Not signed in."""
    app = create_console(seen.engine, Sessions(KEYS, seen.clock), shop_url="/")
    return Client(app)


@pytest.fixture
def console(visitor: Client) -> Client:
    """Signed in."""
    answer = visitor.post("/login", {"key": KEYS.secret})
    assert answer.status_code == 303
    return visitor
