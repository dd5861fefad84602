from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from opportune.server.openapi import document, plain_path
from opportune.server.routes import ROUTES


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(ROUTES, "1.2.3")


def test_every_route_is_described(described: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert told == {(route.method, plain_path(route.path)) for route in ROUTES}


def test_the_document_is_served(anonymous: httpx.Client, described: dict[str, Any]) -> None:
    served = anonymous.get("/openapi.json").json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"] == described["paths"]


def test_every_reference_resolves(described: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert names
    assert names <= set(described["components"]["schemas"])


def test_operations_are_told_apart(described: dict[str, Any]) -> None:
    ids = [
        operation["operationId"] for methods in described["paths"].values() for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))


def test_keys_are_asked_for_where_they_are_needed(described: dict[str, Any], anonymous: httpx.Client) -> None:
    for route in ROUTES:
        operation = described["paths"][plain_path(route.path)][route.method.lower()]
        assert ("security" in operation) == (route.access != "open")
        path = re.sub(r"\{\w+(:\w+)?\}", "user_id:x", route.path)
        answer = anonymous.request(route.method, path, content=b"{}" if route.method == "POST" else None)
        if route.access == "open":
            assert answer.status_code in (200, 404), route.path
        elif route.handler.__name__ in ("batch",):
            assert answer.status_code == 400, route.path
        else:
            assert answer.status_code == 401, route.path


def test_the_decision_types_are_the_ones_on_the_wire(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert set(schemas["DecideRequest"]["properties"]) >= {
        "placement", "placements", "identifiers", "session_id", "context", "events", "candidates", "exclude",
        "count", "deadline_ms", "explain",
    }  # fmt: skip
    assert set(schemas["Decision"]["properties"]) >= {
        "decision_id",
        "items",
        "degraded",
        "took_ms",
        "consent",
    }
    assert schemas["ErrorBody"]["required"] == ["code", "message"]
