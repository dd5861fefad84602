"""schemathesis over the OpenAPI document, against a server around the real engine: whatever is sent, never a
5xx, and every refusal has the one JSON shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from opportune.engine.engine import Engine
from opportune.server.openapi import document
from opportune.server.routes import ROUTES

ITEMS = [
    {"item_id": f"sku{n}", "title": f"Thing {n}", "category": f"c{n % 3}", "price": 1.0 + n}
    for n in range(12)
]

VIEWS = [
    {
        "type": "track",
        "event": "Product Viewed",
        "userId": f"u{n}",
        "properties": {"product_id": f"sku{n % 12}"},
    }
    for n in range(60)
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with Engine.open(folder) as engine:
        engine.ingest(ITEMS, dialect="catalog")
        engine.ingest(VIEWS)
        server = start(engine)
        yield server
        server.stop()


DISTINCT = {(route.handler, route.method): route for route in reversed(ROUTES)}.values()
"""One route of each handler: short forms differ in nothing but the path."""

schema = schemathesis.openapi.from_dict(document(DISTINCT, "test"))


@schema.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_nothing_that_the_document_allows_or_forbids_breaks_the_server(case: Any, real: Any) -> None:
    answer = case.call(base_url=real.url, headers={"Authorization": "Bearer sk_test"})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        said = set(answer.json())
        # OpenFeature's clients read another shape for what is wrong with a flag.
        of_a_flag = case.path.startswith("/ofrep/") and said >= {"errorCode", "errorDetails"}
        assert of_a_flag or said >= {"code", "message"}, answer.text


def test_the_server_still_answers_afterwards(real: Any) -> None:
    body = {"placement": "home_recs", "identifiers": {"user_id": "u1"}}
    headers = {"authorization": "Bearer wk_test"}
    answer = httpx.post(f"{real.url}/v1/decide", json=body, headers=headers)
    assert len(answer.json()["decisions"][0]["items"]) == 8
    told = httpx.get(f"{real.url}/v1/accounting", headers={"authorization": "Bearer sk_test"}).json()
    assert told["balanced"] is True
