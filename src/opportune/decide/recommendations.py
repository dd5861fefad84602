"""``POST /api/recommendations``: the small request that e-commerce pages ask with, and its answer."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.decide.placement import RECOMMENDATIONS
from opportune.decide.request import DecideRequest, Decision


class RecommendationsRequest(msgspec.Struct, kw_only=True):
    """Works with nothing but the inline events; ``current_page`` is a path such as
    ``/category/running-shoes`` or ``/product/22423``. The identifiers and the rest are optional."""

    session_id: str = ""
    current_page: str = ""
    events_in_session: list[dict[str, Any]] = []
    placement: str = RECOMMENDATIONS
    user_id: str | None = None
    anonymous_id: str | None = None
    count: int | None = None
    exclude: list[str] = []
    deadline_ms: float | None = None

    def to_decide(self) -> DecideRequest:
        """The request that it stands for."""
        named = {"user_id": self.user_id, "anonymous_id": self.anonymous_id}
        return DecideRequest(
            placement=self.placement or RECOMMENDATIONS,
            identifiers={kind: value for kind, value in named.items() if value},
            session_id=self.session_id,
            context={"page": self.current_page} if self.current_page else {},
            events=self.events_in_session,
            exclude=self.exclude,
            count=self.count,
            deadline_ms=self.deadline_ms,
        )


class RecommendationsAnswer(msgspec.Struct):
    """``recommendations`` are the product ids, best first; ``items`` says the same with reasons."""

    recommendations: list[str]
    items: list[dict[str, Any]]
    decision_id: str


def answer(decision: Decision) -> RecommendationsAnswer:
    """The answer to a :class:`RecommendationsRequest`."""
    return RecommendationsAnswer(
        recommendations=ranked_ids(decision),
        items=[
            {
                "product_id": shown.item_id,
                "rank": shown.rank,
                "reason": shown.reasons[0].text if shown.reasons else "",
                "item": shown.item,
            }
            for shown in decision.items
        ],
        decision_id=decision.decision_id,
    )


def ranked_ids(decision: Decision) -> list[str]:
    """The ids of the shown items, best first."""
    return [shown.item_id for shown in decision.items]
