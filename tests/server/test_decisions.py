from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from opportune.decide.request import DecideResponse
from opportune.errors import Overloaded


def test_decide_answers_every_field(public: httpx.Client, engine: Any) -> None:
    body = {
        "placement": "home_recs",
        "identifiers": {"user_id": "u1", "anonymous_id": None},
        "session_id": "s1",
        "context": {"page": "/product/22423", "item_id": "22423"},
        "events": [{"type": "track", "event": "Product Viewed", "properties": {"product_id": "p"}}],
        "candidates": ["a"],
        "exclude": ["b"],
        "count": 3,
        "deadline_ms": 50,
        "unknown": "kept away",
    }
    answer = public.post("/v1/decide", json=body)
    assert answer.status_code == 200
    decision = answer.json()["decisions"][0]
    assert [item["item_id"] for item in decision["items"]] == ["sku1", "sku2", "sku3"]
    assert decision["items"][0]["reasons"] == [{"code": "popular", "text": "popular now"}]
    assert decision["took_ms"] == {"total": 0.6, "candidates": 0.2}
    assert decision["experiment"] == {"id": "", "variant": "", "holdout": False}
    assert "explanation" not in decision
    request = engine.requests[0]
    assert (request.session_id, request.count, request.deadline_ms) == ("s1", 3, 50.0)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_several_placements_in_one_request(public: httpx.Client) -> None:
    answer = public.post("/v1/decide", json={"placements": ["home_recs", "cart_upsell"]})
    assert [decision["placement"] for decision in answer.json()["decisions"]] == ["home_recs", "cart_upsell"]


@pytest.mark.parametrize(
    ("body", "where", "message"),
    [
        (b'{"placement": 5}', "$.placement", "Expected `str`, got `int`"),
        (b'{"placement":"home_recs","count":"8"}', "$.count", "Expected `int | null`, got `str`"),
        (b'{"placement":"home_recs","events":[5]}', "$.events[0]", "Expected `object`, got `int`"),
        (b'{"placement":"home_recs","count":0}', "$.count", "count must be 1 to 200"),
        (b"[]", "$", "Expected `object`, got `array`"),
    ],
)
def test_a_wrong_request_is_told_where(public: httpx.Client, body: bytes, where: str, message: str) -> None:
    answer = public.post("/v1/decide", content=body)
    assert answer.status_code == 400
    assert answer.json()["where"] == where
    assert answer.json()["message"] == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"placement":"\xff"}',
        b'{"context":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"count":NaN}',
    ],
)
def test_unreadable_requests(public: httpx.Client, body: bytes) -> None:
    answer = public.post("/v1/decide", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "unreadable_json")


def test_a_placement_that_does_not_exist(public: httpx.Client) -> None:
    answer = public.post("/v1/decide", json={"placement": "nowhere"})
    assert answer.status_code == 404
    assert answer.json() == {
        "code": "not_found",
        "message": "no placement has this name",
        "seen": "nowhere",
        "where": "$.placement",
    }


def test_explanations_need_the_secret_key(public: httpx.Client, private: httpx.Client) -> None:
    body = {"placement": "home_recs", "explain": True}
    assert public.post("/v1/decide", json=body).json()["code"] == "forbidden"
    assert private.post("/v1/decide", json=body).status_code == 200
    assert public.post("/v1/decide", json={**body, "explain": False}).status_code == 200


def test_no_key_no_decision(anonymous: httpx.Client, engine: Any) -> None:
    assert anonymous.post("/v1/decide", json={"placement": "home_recs"}).status_code == 401
    assert engine.requests == []


def test_an_overloaded_engine_says_when_to_come_back(public: httpx.Client, engine: Any) -> None:
    engine.decide_error = Overloaded("too many decisions at once", retry_after_s=7)
    answer = public.post("/v1/decide", json={"placement": "home_recs"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["code"] == "overloaded"


def test_an_unexpected_error_is_a_counted_500(public: httpx.Client, engine: Any, caplog: Any) -> None:
    engine.decide_error = ZeroDivisionError("secret detail")
    answer = public.post("/v1/decide", json={"placement": "home_recs"})
    assert answer.status_code == 500
    assert answer.json() == {"code": "internal", "message": "an unexpected error; it was logged"}
    assert 'opportune_internal_errors_total{route="/v1/decide"} 1.0' in public.get("/metrics").text
    assert "unexpected error in POST /v1/decide" in caplog.text


def test_recommendations_are_a_list_of_ids(public: httpx.Client, engine: Any) -> None:
    body = {
        "session_id": "abc123",
        "current_page": "/category/running-shoes",
        "events_in_session": [
            {"event": "product_viewed", "product_id": "SKU-441", "timestamp": "2026-11-21T20:00:00Z"},
            {
                "event": "filter_applied",
                "attribute": "size",
                "value": "10",
                "timestamp": "2026-11-21T20:01:00Z",
            },
        ],
    }
    answer = public.post("/api/recommendations", json=body)
    assert answer.json() == [f"sku{rank}" for rank in range(1, 9)]
    assert answer.headers["opportune-decision-id"] == "d-recommendations"
    request = engine.requests[0]
    assert request.placement == "recommendations"
    assert request.context == {"page": "/category/running-shoes"}
    assert request.events == body["events_in_session"]


def test_recommendations_for_nothing_but_a_session(public: httpx.Client) -> None:
    assert len(public.post("/api/recommendations", json={}).json()) == 8
    assert len(public.post("/api/recommendations", json={"count": 2}).json()) == 2
    answer = public.post("/api/recommendations", json={"events_in_session": {"not": "a list"}})
    assert (answer.status_code, answer.json()["where"]) == (400, "$.events_in_session")


def test_verbose_recommendations_say_why(public: httpx.Client) -> None:
    answer = public.post("/api/recommendations?verbose=true", json={"count": 1}).json()
    assert answer == {
        "recommendations": ["sku1"],
        "items": [{"product_id": "sku1", "rank": 1, "reason": "popular now", "item": {"title": "Item 1"}}],
        "decision_id": "d-recommendations",
    }


def test_the_answer_decodes_as_the_published_type(public: httpx.Client) -> None:
    content = public.post("/v1/decide", json={"placement": "home_recs"}).content
    assert json.loads(content)
    assert msgspec.json.decode(content, type=DecideResponse).decisions[0].degraded == ["rank: late"]
