"""The decision routes: ``/v1/decide`` and the small ``/api/recommendations``."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from opportune.decide.request import DecideRequest, DecideResponse
from opportune.errors import Forbidden, InvalidRequest
from opportune.server.auth import Reach
from opportune.server.body import read_body
from opportune.server.call import JSON, NO_STORE, Call, Reply, encode_json
from opportune.server.ingest import authorize
from opportune.server.refusals import UnreadableJson
from opportune.server.service import Service

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")


class RecommendationsRequest(msgspec.Struct, kw_only=True):
    """``POST /api/recommendations``: a session told inline. ``events_in_session`` are flat: ``event``,
    ``timestamp``, and whatever describes it (``product_id``, ``attribute``, ``value``)."""

    session_id: str = ""
    current_page: str = ""
    events_in_session: list[dict[str, Any]] = []
    placement: str = ""
    user_id: str | None = None
    anonymous_id: str | None = None
    count: int | None = None
    exclude: list[str] = []
    deadline_ms: float | None = None


_decode_request = msgspec.json.Decoder(DecideRequest).decode
_decode_recommendations = msgspec.json.Decoder(RecommendationsRequest).decode


async def decide(service: Service, call: Call) -> Reply:
    reach = authorize(service, call)
    body = await read_body(call, service.limits.body_bytes)
    try:
        request = _decode_request(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    if request.explain and reach < Reach.SECRET:
        raise Forbidden(
            "an explanation shows what is known about a person",
            where="$.explain",
            remedy="use the secret key",
        )
    return Reply(200, encode_json(_decide(service, request)), (JSON, NO_STORE))


async def recommendations(service: Service, call: Call) -> Reply:
    """Answers a JSON array of item ids, best first; the decision's id is in a header, so that outcomes can
    name it."""
    authorize(service, call)
    body = await read_body(call, service.limits.body_bytes)
    try:
        request = _decode_recommendations(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    response = _decide(service, as_decide_request(request, service.default_placement))
    decision = response.decisions[0]
    return Reply(
        200,
        encode_json([item.item_id for item in decision.items]),
        (JSON, NO_STORE, (b"opportune-decision-id", decision.decision_id.encode("latin-1"))),
    )


def _decide(service: Service, request: DecideRequest) -> DecideResponse:
    response = service.engine.decide(request)
    for decision in response.decisions:
        service.metrics.decision(decision)
    service.writer.nudge()
    return response


def as_decide_request(request: RecommendationsRequest, default_placement: str) -> DecideRequest:
    """The full request that the small one abbreviates."""
    identifiers: dict[str, str | None] = {}
    if request.user_id:
        identifiers["user_id"] = request.user_id
    if request.anonymous_id:
        identifiers["anonymous_id"] = request.anonymous_id
    return DecideRequest(
        placement=request.placement or default_placement,
        identifiers=identifiers,
        session_id=request.session_id,
        context=page_context(request.current_page),
        events=[as_tracking_event(event) for event in request.events_in_session],
        exclude=request.exclude,
        count=request.count,
        deadline_ms=request.deadline_ms,
    )


_ABOUT = {
    "category": "category",
    "categories": "category",
    "c": "category",
    "collections": "category",
    "product": "item_id",
    "products": "item_id",
    "p": "item_id",
    "item": "item_id",
}


def page_context(path: str) -> dict[str, Any]:
    """What a page's path says it is about.

    >>> page_context("/category/running-shoes")
    {'page': '/category/running-shoes', 'category': 'running-shoes'}
    """
    if not path:
        return {}
    context: dict[str, Any] = {"page": path}
    segments = path.partition("?")[0].strip("/").split("/")
    if len(segments) >= 2 and (field := _ABOUT.get(segments[-2])):
        context[field] = unquote(segments[-1])
    return context


_ENVELOPE_FIELDS = ("type", "messageId", "timestamp", "userId", "anonymousId", "context")


def as_tracking_event(flat: dict[str, Any]) -> dict[str, Any]:
    """A flat session event in the shape of the tracking API; one that has ``properties`` is left alone."""
    if isinstance(flat.get("properties"), dict):
        return flat
    event: dict[str, Any] = {"type": "track", "event": flat.get("event")}
    properties: dict[str, Any] = {}
    for name, value in flat.items():
        if name in _ENVELOPE_FIELDS:
            event[name] = value
        elif name != "event":
            properties[name] = value
    event["properties"] = properties
    return event


def wrong_shape(error: Exception) -> InvalidRequest:
    """The refusal for a body that does not decode, with the JSON path when the decoder names one."""
    if not isinstance(error, msgspec.ValidationError):
        return UnreadableJson(f"the body is not readable JSON ({error})", remedy="send one JSON document")
    text = str(error)
    found = _PATH.search(text)
    return InvalidRequest(
        _PATH.sub("", text), where=found["path"] if found else "$", remedy="see /openapi.json"
    )
