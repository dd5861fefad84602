"""Read-only queries, and the dead letters' two verbs. All but the sums are noted in the audit log."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import msgspec

from opportune.engine.admission import Receipt
from opportune.errors import InvalidRequest
from opportune.events.dead_letters import fixed_bytes
from opportune.server.body import body_of
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.contract import Admission
from opportune.server.decisions import wrong_shape
from opportune.server.pending import Pending
from opportune.server.service import Service

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

PARTS = ("traits", "external_ids", "events", "metadata", "links")
PAGE = 100
PAGE_LIMIT = 1_000


def group(service: Service, call: Call) -> Reply:
    """An account or a household with its people. Raises :class:`NotFound`."""
    identifier = unquote(call.param("identifier"))
    service.audit.note(call.who, "group.read", [identifier])
    return json_reply(service.engine.group(identifier), 200, NO_STORE)


def profile(service: Service, call: Call) -> Reply:
    """``/v1/profiles/{type}:{value}`` and its parts. The value may hold anything, percent-encoded."""
    segments = call.path.decode("latin-1").split("/")[3:]
    part = ""
    if len(segments) > 1 and segments[-1] in PARTS:
        part = segments.pop()
    identifier = unquote("/".join(segments))
    kind, colon, value = identifier.partition(":")
    if not (kind and colon and value):
        raise InvalidRequest(
            "a profile is named by type:value", seen=identifier, remedy="for example /v1/profiles/user_id:u1"
        )
    service.audit.note(call.who, "profile.read", [identifier], part=part or "all")
    known = service.engine.profile(identifier)
    if not part:
        return json_reply(known, 200, NO_STORE)
    return json_reply(_part(known, part, identifier, call.query()), 200, NO_STORE)


def _part(known: dict[str, Any], part: str, identifier: str, query: dict[str, str]) -> dict[str, Any]:
    """One part of a profile, in the shape of Segment's Profile API: ``{"traits" | "data": ..., "cursor":
    {url, has_more, next, limit}}``. ``events`` are the newest touches; history is not read on this path."""
    if part == "metadata":
        times = {"created_at": known.get("first_seen"), "updated_at": known.get("last_seen")}
        return {"metadata": {"id": known.get("id"), **times}}
    if part == "traits":
        traits = known.get("traits", {})
        if query.get("verbose", "") not in ("1", "true"):
            traits = {name: trait["value"] for name, trait in traits.items()}
        names, cursor = _window(list(traits), part, identifier, query)
        return {"traits": {name: traits[name] for name in names}, "cursor": cursor}
    if part == "external_ids":
        rows = [
            {"id": one["value"], "type": one["type"], "created_at": one.get("first_seen"), "encoding": "none"}
            for one in known.get("identifiers", [])
        ]
    else:
        rows = list(known.get("recent" if part == "events" else part, []))
    shown, cursor = _window(rows, part, identifier, query)
    return {"data": shown, "cursor": cursor}


def _window(
    rows: list[Any], part: str, identifier: str, query: dict[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    limit = limit_of(query)
    start = _whole(query, "next", 0, 0, 1 << 53)
    more = start + limit < len(rows)
    cursor = {
        "url": f"/v1/profiles/{quote(identifier, safe=':')}/{part}",
        "has_more": more,
        "next": str(start + limit) if more else "",
        "limit": limit,
    }
    return rows[start : start + limit], cursor


def decision(service: Service, call: Call) -> Reply:
    decision_id = call.param("decision_id")
    service.audit.note(call.who, "decision.read", decision=decision_id[:64])
    return json_reply(service.engine.decision(decision_id), 200, NO_STORE)


def accounting(service: Service, call: Call) -> Reply:
    return json_reply(service.engine.accounting(), 200, NO_STORE)


def dead_letters(service: Service, call: Call) -> Reply:
    query = call.query()
    service.audit.note(call.who, "letters.read")
    answer = service.engine.dead_letters(query.get("cursor", ""), limit_of(query), query.get("code", ""))
    return json_reply(answer, 200, NO_STORE)


def replay(service: Service, call: Call) -> Pending[Reply]:
    """Try a dead letter again: as it came, or as the body's ``event``, ``raw`` or ``raw_base64`` fixes it."""
    body = body_of(call, service.limits.body_bytes)
    letter_id = call.param("letter_id")
    admission = service.engine.replay_dead_letter(letter_id, _fix(body) if body else None)
    service.audit.note(call.who, "letter.replayed", changed=True, letter=letter_id[:64])
    return _commit(service, admission)


def _fix(body: bytes) -> bytes | None:
    try:
        sent = _decode_object(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise wrong_shape(error) from error
    if sent and not sent.keys() & {"event", "raw", "raw_base64"}:
        raise InvalidRequest(
            "the fix has no event",
            where="$",
            remedy='send {"event": {...}}, or no body to replay it as it came',
        )
    return fixed_bytes(sent)


def discard(service: Service, call: Call) -> Pending[Reply]:
    """Close a dead letter for good; its bytes stay in the journal until retention removes them."""
    body_of(call, service.limits.body_bytes)
    letter_id = call.param("letter_id")
    admission = service.engine.discard_dead_letter(letter_id)
    service.audit.note(call.who, "letter.discarded", changed=True, letter=letter_id[:64])
    return _commit(service, admission)


def _commit(service: Service, admission: Admission) -> Pending[Reply]:
    return service.writer.commit(admission).map(_verdicts)


def _verdicts(receipt: Receipt) -> Reply:
    return json_reply({"success": True, "verdicts": receipt.verdicts})


def limit_of(query: dict[str, str]) -> int:
    return _whole(query, "limit", PAGE, 1, PAGE_LIMIT)


def _whole(query: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high):
        raise InvalidRequest(
            f"{name} must be a whole number from {low} to {high}",
            seen=text,
            where=f"?{name}",
            remedy="change it",
        )
    return int(text)
