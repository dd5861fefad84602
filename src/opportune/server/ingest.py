"""Capture over HTTP: the Segment tracking routes and their browser short forms."""

from __future__ import annotations

from typing import Any

from opportune.errors import Unauthorized
from opportune.server.auth import Reach
from opportune.server.body import read_body
from opportune.server.call import Call, Reply, json_reply
from opportune.server.contract import Receipt
from opportune.server.envelope import Envelope, open_batch, open_single
from opportune.server.service import Service

SUCCESS = Reply(200, b'{"success":true}')


def authorize(service: Service, call: Call, body_key: str = "") -> Reach:
    """The furthest reach of the keys presented in the ``Authorization`` header, in ``X-API-Key``, in the
    body and in the query. A Bearer token may be an OAuth token of no meaning here, with the write key in the
    body: so one good key is enough."""
    keys = service.keys
    authorization = call.header(b"authorization")
    if authorization and (reach := keys.header_reach(authorization)):
        return reach
    if body_key and (reach := keys.reach(body_key)):
        return reach
    if (api_key := call.header(b"x-api-key")) and (reach := keys.reach(api_key.decode("latin-1"))):
        return reach
    query_key = call.query().get("writeKey", "") if call.scope["query_string"] else ""
    # Only the public key may travel in an address: addresses end up in logs.
    if query_key and keys.reach(query_key) is Reach.WRITE:
        return Reach.WRITE
    raise Unauthorized(
        "no valid key",
        remedy="send the write key as Basic user name, as Bearer token, or as writeKey in body or query",
    )


async def track(service: Service, call: Call) -> Reply:
    return await _post(service, call, "track")


async def identify(service: Service, call: Call) -> Reply:
    return await _post(service, call, "identify")


async def page(service: Service, call: Call) -> Reply:
    return await _post(service, call, "page")


async def screen(service: Service, call: Call) -> Reply:
    return await _post(service, call, "screen")


async def group(service: Service, call: Call) -> Reply:
    return await _post(service, call, "group")


async def alias(service: Service, call: Call) -> Reply:
    return await _post(service, call, "alias")


async def batch(service: Service, call: Call) -> Reply:
    return await _post(service, call, None)


async def client_metrics(service: Service, call: Call) -> Reply:
    """The browser SDK's own telemetry (``/m``): accepted, because it would retry, and not kept."""
    await read_body(call, service.limits.body_bytes)
    return SUCCESS


async def _post(service: Service, call: Call, kind: str | None) -> Reply:
    received = service.clock()
    body = await read_body(call, service.limits.body_bytes)
    envelope = open_batch(body) if kind is None else open_single(body)
    authorize(service, call, envelope.write_key)
    receipt = await service.writer.ingest(
        envelope.items,
        kind=kind,
        dialect="segment",
        source=service.keys.source,
        received=received,
        sent_at=envelope.sent_at,
        context=shared_context(call, envelope),
    )
    return answer(call, receipt)


def shared_context(call: Call, envelope: Envelope) -> dict[str, Any] | None:
    """The batch's own ``context``, with the browser's Global Privacy Control signal when it is set."""
    if call.header(b"sec-gpc") == b"1":
        return {**(envelope.context or {}), "gpc": True}
    return envelope.context


def answer(call: Call, receipt: Receipt) -> Reply:
    """``{"success":true}``; with ``?verdicts=true`` also the counts and one verdict per item."""
    if not call.scope["query_string"] or call.query().get("verdicts", "") not in ("1", "true"):
        return SUCCESS
    return json_reply(
        {
            "success": True,
            "received": receipt.received,
            "stored": receipt.stored,
            "duplicate": receipt.duplicate,
            "rejected": receipt.rejected,
            "suppressed": receipt.suppressed,
            "filtered": receipt.filtered,
            "verdicts": receipt.verdicts,
        }
    )
