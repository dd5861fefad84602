"""OpenFeature Remote Evaluation Protocol 0.3: ``/ofrep/v1/evaluate/flags``, for the providers as they are."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from opportune.decide.flags import Evaluation
from opportune.errors import InvalidRequest, NotFound
from opportune.server.body import body_of
from opportune.server.call import JSON, NO_STORE, Call, Reply, encode_json
from opportune.server.ingest import may_write
from opportune.server.refusals import UnreadableJson
from opportune.server.service import Service

Context = dict[str, Any]


class FlagRequest(msgspec.Struct):
    """``context`` has a ``targetingKey``: a user id, or ``type:value``; the rest is what audiences ask."""

    context: Context = {}


class Flags(msgspec.Struct):
    """The flags of one context. ``metadata`` names the definitions that they come of."""

    flags: list[Evaluation]
    metadata: dict[str, str] = {}


_decode = msgspec.json.Decoder(FlagRequest).decode


def evaluate(service: Service, call: Call) -> Reply:
    """One flag. Refusals have the protocol's own shape: 400 with an error code, 404 for an unknown flag."""
    may_write(service, call)
    key = call.param("key")
    try:
        found = service.engine.flag(key, _context(service, call))
    except NotFound as error:
        return _refused(404, key, "FLAG_NOT_FOUND", str(error))
    except InvalidRequest as error:
        return _refused(400, key, _code(error), str(error))
    service.writer.nudge()
    return Reply(200, encode_json(found), (JSON, NO_STORE))


def evaluate_all(service: Service, call: Call) -> Reply:
    """Every flag, with an ``ETag``; 304 when the client has them already. The tag is of the answers, without
    the decisions' ids, which are new every time."""
    may_write(service, call)
    try:
        found = service.engine.flags(_context(service, call))
    except InvalidRequest as error:
        return _refused(400, "", _code(error), str(error))
    service.writer.nudge()
    tag = b'"%s"' % blake2b(_stable(found), digest_size=8).hexdigest().encode()
    if tag in call.header(b"if-none-match"):
        return Reply(304, b"", ((b"etag", tag),))
    body = encode_json(Flags(found, {"definitions": service.engine.revision}))
    return Reply(200, body, (JSON, NO_STORE, (b"etag", tag)))


def _context(service: Service, call: Call) -> Context:
    try:
        return _decode(body_of(call, service.limits.body_bytes)).context
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableJson(f"the body cannot be read ({error})", remedy="send one JSON object") from error


def _code(error: InvalidRequest) -> str:
    if isinstance(error, UnreadableJson):
        return "PARSE_ERROR"
    return "TARGETING_KEY_MISSING" if "targetingKey" in error.where else "INVALID_CONTEXT"


def _refused(status: int, key: str, code: str, details: str) -> Reply:
    said = {"errorCode": code, "errorDetails": details}
    return Reply(status, encode_json({"key": key, **said} if key else said))


def _stable(found: list[Evaluation]) -> bytes:
    return encode_json(
        [
            msgspec.structs.replace(
                one, metadata={name: v for name, v in one.metadata.items() if name != "decision_id"}
            )
            for one in found
        ]
    )
