"""The decision routes: ``/v1/decide`` and the small ``/api/recommendations``."""

from __future__ import annotations

import re

import msgspec

from opportune.access.scopes import SCOPES
from opportune.decide.recommendations import RecommendationsRequest, answer, ranked_ids
from opportune.decide.request import DecideRequest, DecideResponse
from opportune.errors import Forbidden, InvalidRequest
from opportune.events.consent import GPC
from opportune.server.body import body_of
from opportune.server.call import JSON, NO_STORE, Call, Reply, encode_json
from opportune.server.ingest import may_write
from opportune.server.refusals import UnreadableJson
from opportune.server.service import Service

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")


_decode_request = msgspec.json.Decoder(DecideRequest).decode
_decode_recommendations = msgspec.json.Decoder(RecommendationsRequest).decode


def decide(service: Service, call: Call) -> Reply:
    grant = may_write(service, call)
    body = body_of(call, service.limits.body_bytes)
    try:
        request = _decode_request(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    if request.explain and not grant.scopes & SCOPES["people"]:
        raise Forbidden(
            "an explanation shows what is known about a person",
            where="$.explain",
            remedy="use the secret key, or a key that may read about people",
        )
    if request.explain:
        about = [f"{kind}:{value}" for kind, value in request.identifiers.items()]
        service.audit.note(grant.who, "decision.explained", about)
    return Reply(200, encode_json(_decide(service, call, request)), (JSON, NO_STORE))


def recommendations(service: Service, call: Call) -> Reply:
    """A JSON array of product ids, best first, with the decision's id in a header, so that outcomes can name
    it. ``?verbose=true`` answers an object with the reasons and the id."""
    may_write(service, call)
    body = body_of(call, service.limits.body_bytes)
    try:
        request = _decode_recommendations(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    decision = _decide(service, call, request.to_decide()).decisions[0]
    told = answer(decision) if call.query().get("verbose", "") in ("1", "true") else ranked_ids(decision)
    return Reply(
        200,
        encode_json(told),
        (JSON, NO_STORE, (b"opportune-decision-id", decision.decision_id.encode("latin-1"))),
    )


def _decide(service: Service, call: Call, request: DecideRequest) -> DecideResponse:
    """``Sec-GPC: 1`` says what ``context.gpc`` says: what it refuses is in ``consent.yaml``."""
    if call.header(b"sec-gpc") == b"1":
        request.context = {**request.context, GPC: True}
    response = service.engine.decide(request)
    for decision in response.decisions:
        service.metrics.decision(decision)
    service.writer.nudge()
    return response


def wrong_shape(error: Exception) -> InvalidRequest:
    """The refusal for a body that does not decode, with the JSON path when the decoder names one."""
    if not isinstance(error, msgspec.ValidationError):
        return UnreadableJson(f"the body is not readable JSON ({error})", remedy="send one JSON document")
    text = str(error)
    found = _PATH.search(text)
    return InvalidRequest(
        _PATH.sub("", text), where=found["path"] if found else "$", remedy="see /openapi.json"
    )
