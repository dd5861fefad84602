"""segment-analytics-python and rudder-sdk-python, unmodified, against a real server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

Make = Callable[..., Any]
CLIENTS = [pytest.param(SegmentClient, id="segment"), pytest.param(RudderClient, id="rudder")]


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest, served: Any) -> Iterator[Make]:
    """Makes clients of one kind that keep every error, and stops them at the end."""
    made: list[Any] = []

    def make_client(host: str = served.url, **options: Any) -> Any:
        errors: list[Any] = []
        client = request.param(
            served.write_key,
            host=host,
            on_error=lambda error, items: errors.append((error, items)),
            upload_interval=0.1,
            **options,
        )
        client.errors = errors
        made.append(client)
        return client

    yield make_client
    for client in made:
        client.join()
        assert client.errors == []


@pytest.fixture
def person() -> str:
    return f"py-{uuid4().hex[:12]}"


def linked(profile: dict[str, Any]) -> set[str]:
    return {known["identifier"] for known in profile["identifiers"]}


def test_every_call_is_stored_once(make: Make, served: Any, since: Any, person: str) -> None:
    client = make()
    anonymous = f"anon-{person}"
    client.track(None, "Product Viewed", {"product_id": "p1", "price": 9.5}, anonymous_id=anonymous)
    client.page(None, "Shop", "Home", {"path": "/"}, anonymous_id=anonymous)
    client.identify(person, {"email": f"{person}@shop.example", "plan": "pro"}, anonymous_id=anonymous)
    client.screen(person, "App", "Start")
    client.group(person, "firm-1", {"name": "Firm"})
    client.track(
        person, "Order Completed", {"order_id": "o1", "total": 19, "products": [{"product_id": "p1"}]}
    )
    client.alias(f"old-{person}", person)
    client.flush()
    since.wait_for({"received": 7, "stored": 7})
    profile = served.profile(f"user_id:{person}")
    assert profile["events"] == {
        "alias": 1,
        "group": 1,
        "identify": 1,
        "order_completed": 1,
        "page": 1,
        "product_viewed": 1,
        "screen": 1,
    }
    assert profile["traits"]["plan"]["value"] == "pro"
    assert {f"user_id:{person}", f"anonymous_id:{anonymous}", f"email:{person}@shop.example"} <= linked(
        profile
    )
    assert served.profile(f"anonymous_id:{anonymous}")["id"] == profile["id"]


@pytest.mark.parametrize("zipped", [True, False])
def test_bodies_travel_zipped_or_plain(make: Make, way: Any, since: Any, person: str, zipped: bool) -> None:
    client = make(way.url, gzip=zipped)
    for number in range(25):
        client.track(
            person, "Product Viewed", {"product_id": f"p{number}", "name": "Tränen-Kästchen \U0001f600"}
        )
    client.flush()
    since.wait_for({"received": 25, "stored": 25})
    for post in way.posts():
        assert (post.headers.get("content-encoding") == "gzip") is zipped
        body = json.loads(gzip.decompress(post.body) if zipped else post.body)
        assert body["batch"][0]["properties"]["name"] == "Tränen-Kästchen \U0001f600"


def test_a_large_backlog_goes_out_in_batches(
    make: Make, way: Any, served: Any, since: Any, person: str
) -> None:
    client = make(way.url)
    for number in range(350):
        client.track(person, "Product Viewed", {"product_id": f"p{number % 7}"})
    client.flush()
    since.wait_for({"received": 350, "stored": 350})
    assert len(way.posts()) >= 4
    assert served.profile(f"user_id:{person}")["events"] == {"product_viewed": 350}


@pytest.mark.parametrize("trouble", [503, 500, 429])
def test_a_refused_batch_comes_again_and_is_stored_once(
    make: Make, way: Any, since: Any, person: str, trouble: int
) -> None:
    way.script = [trouble]
    client = make(way.url)
    client.track(person, "Product Added", {"product_id": "p1"})
    client.flush()
    since.wait_for({"received": 1, "stored": 1})
    assert way.statuses() == [trouble, 200]


@pytest.mark.parametrize("trouble", ["lost", "broken"])
def test_a_lost_acknowledgement_makes_a_duplicate_and_not_a_second_event(
    make: Make, way: Any, served: Any, since: Any, person: str, trouble: str
) -> None:
    way.script = [trouble]
    client = make(way.url)
    client.track(person, "Order Completed", {"total": 10, "products": [{"product_id": "p1"}]})
    client.track(person, "Product Viewed", {"product_id": "p1"})
    client.flush()
    since.wait_for({"received": 4, "stored": 2, "duplicate": 2})
    assert served.profile(f"user_id:{person}")["events"] == {"order_completed": 1, "product_viewed": 1}


def test_history_keeps_its_time(make: Make, served: Any, since: Any, person: str) -> None:
    client = make()
    then = datetime.now(UTC) - timedelta(days=400)
    client.track(person, "Product Viewed", {"product_id": "p1"}, timestamp=then)
    client.flush()
    since.wait_for({"received": 1, "stored": 1})
    first_seen = served.profile(f"user_id:{person}")["first_seen"]
    # The correction for the client's clock counts the way here, which is short, as part of the age.
    assert first_seen == pytest.approx(then.timestamp() * 1_000, abs=5_000)


def test_one_event_that_is_no_json_does_not_take_its_batch_with_it(
    make: Make, served: Any, since: Any, person: str
) -> None:
    client = make()
    client.track(person, "Product Viewed", {"product_id": "p1"})
    client.track(person, "Product Viewed", {"product_id": "p2", "price": float("nan")})
    client.track(person, "Product Viewed", {"product_id": "p3"})
    client.flush()
    since.wait_for({"received": 3, "stored": 2, "rejected": 1})
    letter = served.letters()[0]
    assert (letter["code"], json.loads(letter["raw"])["userId"]) == ("unreadable", person)


def test_events_that_cannot_be_stored_are_answered_200_and_kept(
    make: Make, way: Any, served: Any, since: Any
) -> None:
    client = make(way.url)
    client.track("null", "Product Viewed", {"product_id": "p1"})
    client.flush()
    since.wait_for({"received": 1, "rejected": 1})
    assert way.statuses() == [200]
    letter = served.letters()[0]
    assert (letter["code"], letter["where"]) == ("no_identifier", "$.userId")


def test_a_wrong_key_is_told_to_the_client_and_not_retried(way: Any, since: Any, request: Any) -> None:
    errors: list[Any] = []
    client = SegmentClient("wrong", host=way.url, on_error=lambda error, items: errors.append(error))
    client.track("u1", "Product Viewed")
    client.flush()
    client.join()
    assert way.statuses() == [401]
    assert [(error.status, error.code) for error in errors] == [(401, "unauthorized")]
    assert since.moved() == {}
