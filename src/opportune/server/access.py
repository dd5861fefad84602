"""Keys and the audit log over HTTP."""

from __future__ import annotations

import msgspec

from opportune.access.roster import Roster
from opportune.clock import DAY
from opportune.errors import InvalidRequest, NotFound
from opportune.server.body import body_of
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.decisions import wrong_shape
from opportune.server.reads import limit_of
from opportune.server.service import Service

MOST_DAYS = 3_650


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """Either a role or scopes; ``expires_days`` 0 is for ever."""

    name: str = ""
    role: str = ""
    scopes: list[str] = []
    expires_days: int = 90


class CreatedKey(msgspec.Struct):
    """``key`` is shown this once. ``expires`` in milliseconds, 0 for never."""

    id: str
    key: str
    role: str
    scopes: tuple[str, ...]
    expires: int


_decode = msgspec.json.Decoder(NewKey).decode


def keys(service: Service, call: Call) -> Reply:
    now = service.clock()
    return json_reply({"keys": [key.shown(now) for key in _roster(service).list_keys()]}, 200, NO_STORE)


def create_key(service: Service, call: Call) -> Reply:
    body = body_of(call, service.limits.body_bytes)
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    if not 0 <= asked.expires_days <= MOST_DAYS:
        raise InvalidRequest(
            f"a key lives for 1 to {MOST_DAYS} days, or for ever with 0",
            seen=asked.expires_days,
            where="$.expires_days",
            remedy="send a whole number of days",
        )
    key, text = _roster(service).create_key(
        asked.name,
        role=asked.role,
        scopes=asked.scopes,
        expires_in=asked.expires_days * DAY,
        by=call.who,
    )
    service.audit.note(call.who, "key.created", changed=True, key=key.id, role=key.role)
    return json_reply(CreatedKey(key.id, text, key.role, key.scopes, key.expires), 200, NO_STORE)


def revoke_key(service: Service, call: Call) -> Reply:
    body_of(call, service.limits.body_bytes)
    key = _roster(service).revoke_key(call.param("key_id"))
    service.audit.note(call.who, "key.revoked", changed=True, key=key.id)
    return json_reply(key.shown(service.clock()), 200, NO_STORE)


def audit(service: Service, call: Call) -> Reply:
    query = call.query()
    about = query.get("about", "")
    service.audit.note(call.who, "audit.read", [about] if about else [])
    found = service.audit.newest(limit_of(query), about, query.get("did", ""))
    return json_reply({"entries": found}, 200, NO_STORE)


def _roster(service: Service) -> Roster:
    if service.keys.roster is None:
        raise NotFound("this server keeps no keys", remedy="serve a data folder")
    return service.keys.roster
