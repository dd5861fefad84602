from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "product_viewed",
    "data": {"user_id": "u1"},
}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCHED = {"content-type": "application/cloudevents-batch+json"}


def items(engine: Any) -> list[Any]:
    return [json.loads(item) for item in engine.admitted[0]["items"]]


@pytest.mark.parametrize("headers", [STRUCTURED, {"content-type": "application/json"}, {}])
def test_structured(public: httpx.Client, engine: Any, headers: dict[str, str]) -> None:
    assert public.post("/v1/events", content=json.dumps(EVENT), headers=headers).status_code == 200
    assert items(engine) == [EVENT]
    assert (engine.admitted[0]["dialect"], engine.admitted[0]["kind"]) == ("cloudevents", None)


@pytest.mark.parametrize("headers", [BATCHED, {"content-type": "application/json"}])
def test_batched(public: httpx.Client, engine: Any, headers: dict[str, str]) -> None:
    answer = public.post("/v1/events?verdicts=true", content=json.dumps([EVENT, EVENT]), headers=headers)
    assert [verdict["verdict"] for verdict in answer.json()["verdicts"]] == ["stored", "duplicate"]
    assert items(engine) == [EVENT, EVENT]


def test_binary(public: httpx.Client, engine: Any) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/shop",
        "ce-type": "product_viewed",
        "content-type": "application/json",
    }
    assert public.post("/v1/events", content=b'{"user_id":"u1"}', headers=headers).status_code == 200
    assert items(engine) == [{**EVENT, "datacontenttype": "application/json"}]


def test_unreadable(public: httpx.Client) -> None:
    assert public.post("/v1/events", content=b"{", headers=STRUCTURED).status_code == 400
    assert public.post("/v1/events", content=b"{}", headers=BATCHED).status_code == 400


def test_nested_too_deep_is_the_engines_to_refuse(public: httpx.Client) -> None:
    deep = b'{"specversion":"1.0","data":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    answer = public.post("/v1/events?verdicts=true", content=deep, headers=STRUCTURED)
    assert (answer.status_code, answer.json()["verdicts"][0]["verdict"]) == (200, "rejected")


def test_needs_a_key(anonymous: httpx.Client) -> None:
    assert anonymous.post("/v1/events", json=EVENT).status_code == 401
