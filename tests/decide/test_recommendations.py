"""The small request of e-commerce pages."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.decide.pipeline import decide
from opportune.decide.recommendations import RecommendationsRequest, answer
from opportune.decide.world import SessionView, Stranger

SENT = b"""{
  "session_id": "abc123",
  "current_page": "/category/c3",
  "events_in_session": [
    {"event": "product_viewed", "product_id": "i5", "timestamp": "2026-01-01T00:00:00Z"}
  ]
}"""


def test_the_request_stands_for_a_decision() -> None:
    request = msgspec.json.decode(SENT, type=RecommendationsRequest).to_decide()
    assert request.placement == "recommendations"
    assert request.session_id == "abc123"
    assert request.context == {"page": "/category/c3"}
    assert request.events[0]["product_id"] == "i5"
    assert request.identifiers == {}


def test_identifiers_are_optional() -> None:
    request = RecommendationsRequest(user_id="u1", anonymous_id="", count=3).to_decide()
    assert request.identifiers == {"user_id": "u1"}
    assert request.count == 3


def test_the_answer_is_a_ranked_list_of_ids(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: recommendations, sources: [{source: popular_in_category}]}]",
        popular_in_category=[3, 7, 11],
    )
    request = msgspec.json.decode(SENT, type=RecommendationsRequest).to_decide()
    [(decision, _)] = decide(world, request, Stranger(), SessionView("abc123"), 1_760_000_000_000)
    body = msgspec.json.decode(msgspec.json.encode(answer(decision)))
    assert body["recommendations"] == ["i3", "i7", "i11"]
    assert body["items"][0]["product_id"] == "i3"
    assert body["items"][0]["reason"] == "popular in c3"
    assert body["items"][0]["item"]["name"] == "Item 3"
    assert body["decision_id"] == decision.decision_id
