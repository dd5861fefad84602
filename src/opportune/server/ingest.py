"""Capture over HTTP: the Segment tracking routes and their browser short forms."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.access.scopes import ROLES, SCOPES, SECRET_GRANT, WRITE, Grant
from opportune.clock import Millis
from opportune.engine.admission import Receipt
from opportune.errors import Forbidden, Unauthorized
from opportune.events import verdicts
from opportune.events.segment import Batch, split_batch, split_single
from opportune.server.body import body_of
from opportune.server.call import Call, Reply, json_reply
from opportune.server.pending import Pending
from opportune.server.service import Service

SUCCESS = Reply(200, verdicts.SUCCESS)


def authorize(service: Service, call: Call, body_key: str = "") -> Grant:
    """What the keys presented in the ``Authorization`` header, in ``X-API-Key``, in the body and in the query
    allow. A Bearer token may be an OAuth token of no meaning here, with the write key in the body: so one
    good key is enough, and the first one stands. Raises :class:`Unauthorized`, and :class:`RateLimited` for
    who asks too often."""
    grant = _presented(service, call, body_key)
    if service.limiter is not None:
        service.limiter.check(grant, call)
    return grant


def _presented(service: Service, call: Call, body_key: str) -> Grant:
    keys = service.keys
    authorization = call.header(b"authorization")
    if authorization and (grant := keys.header_grant(authorization)):
        return grant
    if body_key and (grant := keys.grant(body_key)):
        return grant
    if (api_key := call.header(b"x-api-key")) and (grant := keys.grant(api_key.decode("latin-1"))):
        return grant
    query_key = call.query().get("writeKey", "")
    # Only a public key may travel in an address: addresses end up in logs.
    if query_key and (grant := keys.grant(query_key)) and grant.is_public:
        return grant
    raise Unauthorized(
        "no valid key",
        remedy="send the write key as Basic user name, as Bearer token, or as writeKey in body or query",
    )


def may_write(service: Service, call: Call, body_key: str = "") -> Grant:
    """:func:`authorize`, for routes whose key may be in the body. Raises :class:`Forbidden`."""
    grant = authorize(service, call, body_key)
    if not grant.scopes & WRITE:
        raise needs("write")
    return grant


def needs(access: str) -> Forbidden:
    """The refusal for a key that is good, but not for this."""
    who = ", ".join(role for role, scopes in ROLES.items() if scopes & SCOPES[access])
    return Forbidden(
        f"this needs the scope {access}",
        remedy=f"use the secret key, or the key of a role with this scope ({who})",
    )


def track(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "track")


def identify(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "identify")


def page(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "page")


def screen(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "screen")


def group(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "group")


def alias(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, "alias")


def batch(service: Service, call: Call) -> Pending[Reply]:
    return _post(service, call, None)


def items(service: Service, call: Call) -> Pending[Reply]:
    """Items of the catalogue. Needs more than the write key, which is in every page."""
    received = service.clock()
    batch = split_batch(body_of(call, service.limits.body_bytes))
    return post(
        service,
        call,
        batch,
        kind=None,
        dialect="catalog",
        received=received,
        grant=call.grant or SECRET_GRANT,
    )


def client_metrics(service: Service, call: Call) -> Reply:
    """The browser SDK's own telemetry (``/m``): accepted, because it would retry, and not kept."""
    body_of(call, service.limits.body_bytes)
    return SUCCESS


def _post(service: Service, call: Call, kind: str | None) -> Pending[Reply]:
    received = service.clock()
    body = body_of(call, service.limits.body_bytes)
    batch = split_batch(body) if kind is None else split_single(body)
    grant = may_write(service, call, batch.write_key)
    return post(
        service,
        call,
        batch,
        kind=kind,
        dialect="segment",
        received=received,
        grant=grant,
    )


def post(
    service: Service,
    call: Call,
    batch: Batch,
    *,
    kind: str | None,
    dialect: str,
    received: Millis,
    grant: Grant,
) -> Pending[Reply]:
    """Give a batch to the writer; the answer comes once it is on disk and folded: ``{"success":true}``, with
    ``?verdicts=true`` also the counts and one verdict per item."""
    receipt = service.writer.ingest(
        batch.items,
        kind=kind,
        dialect=dialect,
        source=service.keys.source,
        received=received,
        sent_at=batch.sent_at,
        context=_shared_context(call, batch),
        is_public=grant.is_public,
    )
    if call.query_string and call.query().get("verdicts", "") in ("1", "true"):
        return receipt.map(_told)
    return receipt.map(_success)


def _success(receipt: Receipt) -> Reply:
    return SUCCESS


def _told(receipt: Receipt) -> Reply:
    return json_reply({"success": True, **msgspec.structs.asdict(receipt)})


def _shared_context(call: Call, batch: Batch) -> dict[str, Any] | None:
    """What the batch says once for all its items, with the browser's Global Privacy Control signal."""
    context = batch.context
    if batch.integrations:
        context = {**(context or {}), "integrations": batch.integrations}
    if call.header(b"sec-gpc") == b"1":
        context = {**(context or {}), "gpc": True}
    return context
