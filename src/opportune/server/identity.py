"""Joining and taking apart people over HTTP, and the list of links that wait for somebody to decide."""

from __future__ import annotations

import msgspec

from opportune.engine.admission import Receipt
from opportune.identity.corrections import Action
from opportune.server.body import body_of
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.decisions import wrong_shape
from opportune.server.pending import Pending
from opportune.server.reads import limit_of
from opportune.server.service import Service


class Relink(msgspec.Struct, forbid_unknown_fields=True):
    """Two identifiers, ``type:value``; ``why`` is a sentence for the record."""

    a: str
    b: str
    why: str = ""


_decode = msgspec.json.Decoder(Relink).decode


def merge(service: Service, call: Call) -> Pending[Reply]:
    """Join two identifiers. A guard may put the link into quarantine: the answer says so, and the review
    list has it."""
    return _relink(service, call, "merge")


def unmerge(service: Service, call: Call) -> Pending[Reply]:
    return _relink(service, call, "unmerge")


def reject(service: Service, call: Call) -> Pending[Reply]:
    """Never join the two, whether or not anything does now."""
    return _relink(service, call, "reject")


def accept(service: Service, call: Call) -> Pending[Reply]:
    """Join the two although a guard refuses."""
    return _relink(service, call, "confirm")


def reviews(service: Service, call: Call) -> Reply:
    service.audit.note(call.who, "reviews.read")
    return json_reply(service.engine.reviews(limit_of(call.query())), 200, NO_STORE)


def corrections(service: Service, call: Call) -> Reply:
    service.audit.note(call.who, "corrections.read")
    return json_reply({"corrections": service.engine.corrections(limit_of(call.query()))}, 200, NO_STORE)


def _relink(service: Service, call: Call, action: Action) -> Pending[Reply]:
    body = body_of(call, service.limits.body_bytes)
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    engine = service.engine
    admission = engine.relink(asked.a, asked.b, action, who=call.who, why=asked.why)
    service.audit.note(call.who, f"identity.{action}", [asked.a, asked.b], changed=True)

    def told(_: Receipt) -> Reply:
        return json_reply(engine.together(asked.a, asked.b).to_dict(), 200, NO_STORE)

    return service.writer.commit(admission).map(told)
