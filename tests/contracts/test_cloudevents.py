"""CloudEvents in the three modes of their HTTP binding, against a real server."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def person() -> str:
    return f"ce-{uuid4().hex[:12]}"


def cloud(person: str, **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "/shop",
        "type": "com.example.shop.product_viewed",
        "time": "2026-11-21T20:46:43.531Z",
        "datacontenttype": "application/json",
        "data": {"userId": person, "product_id": "p1"},
        **attributes,
    }


def post(served: Any, path: str, content: Any, headers: dict[str, str]) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(
        f"{served.url}{path}", content=body, headers=headers, auth=(served.write_key, ""), timeout=10
    )


@pytest.fixture(scope="module")
def path(served: Any) -> str:
    """Where the server takes CloudEvents, as its own OpenAPI document says."""
    paths: dict[str, Any] = served.get("/openapi.json").json()["paths"]
    found = [
        path
        for path, methods in paths.items()
        if "application/cloudevents+json" in methods.get("post", {}).get("requestBody", {}).get("content", {})
    ]
    assert len(found) == 1
    return found[0]


def test_structured_mode_and_its_retry(served: Any, since: Any, path: str, person: str) -> None:
    event = cloud(person)
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert post(served, path, event, headers).status_code == 200
    assert post(served, path, event, headers).status_code == 200
    assert since.moved() == {"received": 2, "stored": 1, "duplicate": 1}
    assert served.profile(f"user_id:{person}")["events"] == {"product_viewed": 1}


def test_batch_mode(served: Any, since: Any, path: str, person: str) -> None:
    events = [cloud(person), cloud(person, type="order.completed"), cloud(person, id="")]
    headers = {"content-type": "application/cloudevents-batch+json"}
    assert post(served, path, events, headers).status_code == 200
    assert since.moved() == {"received": 3, "stored": 2, "rejected": 1}
    assert served.letters()[0]["where"] == "$.id"


def test_binary_mode(served: Any, since: Any, path: str, person: str) -> None:
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": uuid4().hex,
        "ce-source": "/shop",
        "ce-type": "product_added",
        "ce-subject": "Euro%20%E2%82%AC",
    }
    assert post(served, path, {"userId": person, "product_id": "p1"}, headers).status_code == 200
    assert since.moved() == {"received": 1, "stored": 1}
    assert served.profile(f"user_id:{person}")["events"] == {"product_added": 1}
