"""Requests of people about their data: Segment's ``/regulations``, with the receipt of every erasure."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from opportune.engine.admission import Receipt
from opportune.engine.erasing import Erasing
from opportune.errors import InvalidRequest, OpportuneError
from opportune.events.identifiers import custom_kind
from opportune.events.rights import Right
from opportune.server.body import body_of
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.decisions import wrong_shape
from opportune.server.long_work import in_turns
from opportune.server.pending import Pending
from opportune.server.preference_links import DAYS, PreferenceLinks
from opportune.server.service import Service

log = logging.getLogger("opportune.privacy")
_running: set[asyncio.Task[None]] = set()

MOST_SUBJECTS = 5_000
AUDITED: dict[Right, str] = {
    "rectify": "person.rectified",
    "restrict": "person.restricted",
    "lift": "person.unrestricted",
    "object": "person.objected",
    "withdraw": "person.withdrew",
}
"""How the audit log calls each right that was exercised."""
Regulation = Literal["DELETE_ONLY", "SUPPRESS_WITH_DELETE", "SUPPRESS_ONLY", "UNSUPPRESS"]


class RegulationRequest(msgspec.Struct, rename="camel"):
    """Segment's shape. ``subject_type`` is an identifier type: ``USER_ID``, ``ANONYMOUS_ID``, ``EMAIL``.
    ``DELETE_ONLY`` erases, ``SUPPRESS_WITH_DELETE`` also refuses whatever comes later; ``SUPPRESS_ONLY`` only
    refuses, and ``UNSUPPRESS`` takes in again."""

    regulation_type: Regulation
    subject_ids: list[str]
    subject_type: str = "USER_ID"


class Regulated(msgspec.Struct, rename="camel"):
    """``state`` goes from ``RUNNING`` to ``FINISHED``, to ``PARTIAL_SUCCESS`` when the scan found bytes that
    should be gone, or to ``FAILED``; then ``receipt`` is there."""

    regulate_id: str
    state: Literal["RUNNING", "PARTIAL_SUCCESS", "FAILED", "FINISHED"]
    receipt: dict[str, Any] | None = None
    error: str = ""


_decode = msgspec.json.Decoder(RegulationRequest).decode


def regulate(service: Service, call: Call) -> Reply:
    """The person is forgotten when this answers; files are cleaned and searched after it."""
    try:
        asked = _decode(body_of(call, service.limits.body_bytes))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    if not 0 < len(asked.subject_ids) <= MOST_SUBJECTS:
        raise InvalidRequest(
            f"one to {MOST_SUBJECTS} subjects",
            seen=len(asked.subject_ids),
            where="$.subjectIds",
            remedy="send several requests",
        )
    kind = custom_kind(asked.subject_type)
    names = [f"{kind}:{value}" for value in asked.subject_ids]
    if asked.regulation_type in ("SUPPRESS_ONLY", "UNSUPPRESS"):
        lifts = asked.regulation_type == "UNSUPPRESS"
        service.audit.note(
            call.who, "person.unsuppressed" if lifts else "person.suppressed", names, changed=True
        )
        stone = service.engine.rights.suppress(names, lift=lifts)
        return json_reply(Regulated(stone.id, "FINISHED"), 200, NO_STORE)
    erasing = service.engine.erasing(
        names,
        suppress=asked.regulation_type == "SUPPRESS_WITH_DELETE",
    )
    service.audit.note(call.who, "person.erased", names, changed=True, erasure=erasing.id)
    erasing.begin()
    carry_out(erasing)
    return json_reply(Regulated(erasing.id, "RUNNING"), 200, NO_STORE)


def carry_out(erasing: Erasing) -> None:
    """Do what is left of an erasure that was begun, beside everything else."""
    task = asyncio.get_running_loop().create_task(carried_out(erasing))
    _running.add(task)
    task.add_done_callback(_running.discard)


async def carried_out(erasing: Erasing) -> None:
    """What is left of an erasure that was begun."""
    try:
        await in_turns(erasing.turns())
    except (OSError, OpportuneError) as error:
        log.error("erasure %s is not finished: %s", erasing.id, error)
        erasing.failure = str(error)


def holdings(service: Service, call: Call) -> Reply:
    """Everything that is held about a person. Raises :class:`NotFound`."""
    identifier = unquote(call.param("identifier"))
    service.audit.note(call.who, "person.exported", [identifier])
    return json_reply(service.engine.holdings(identifier), 200, NO_STORE)


class RightsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``identifier`` is ``type:value``. ``rectify`` sets ``trait`` to ``value`` (null: there is none);
    ``restrict`` freezes, ``lift`` ends that; ``object`` is against ``uses``, ``withdraw`` takes that back, or
    the correction of ``trait``. ``why`` is a sentence for the record: the evidence."""

    identifier: str
    right: Right
    trait: str = ""
    value: Any = None
    uses: list[str] = []
    why: str = ""


_decode_rights = msgspec.json.Decoder(RightsRequest).decode


def exercise(service: Service, call: Call) -> Pending[Reply]:
    """A right of a person; what holds then. Raises :class:`NotFound` for somebody unknown."""
    try:
        asked = _decode_rights(body_of(call, service.limits.body_bytes))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    engine = service.engine
    admission = engine.rights.exercise(
        asked.right, asked.identifier, who=call.who, why=asked.why, trait=asked.trait, value=asked.value,
        uses=asked.uses,
    )  # fmt: skip
    service.audit.note(
        call.who, AUDITED[asked.right], [asked.identifier], changed=True, trait=asked.trait,
        uses=" ".join(asked.uses),
    )  # fmt: skip

    def told(_: Receipt) -> Reply:
        return json_reply(engine.rights.of(asked.identifier), 200, NO_STORE)

    return service.writer.commit(admission).map(told)


def rights(service: Service, call: Call) -> Reply:
    """What is restricted, objected to and put right. Raises :class:`NotFound`."""
    identifier = unquote(call.param("identifier"))
    service.audit.note(call.who, "rights.read", [identifier])
    return json_reply(service.engine.rights.of(identifier), 200, NO_STORE)


class LinkRequest(msgspec.Struct, forbid_unknown_fields=True):
    """For whom, ``type:value``, and for how many days."""

    identifier: str
    days: int = DAYS


_decode_link = msgspec.json.Decoder(LinkRequest).decode


def preference_link(service: Service, call: Call) -> Reply:
    """A link to the person's own page, to give to nobody but them."""
    try:
        asked = _decode_link(body_of(call, service.limits.body_bytes))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    path = PreferenceLinks(service.keys.secret, service.clock).make(asked.identifier, asked.days)
    service.audit.note(call.who, "preferences.linked", [asked.identifier], changed=True)
    return json_reply({"path": path, "days": asked.days}, 200, NO_STORE)


def anonymous(service: Service, call: Call) -> Reply:
    """Counts of people who refuse, as published, and the budget."""
    return json_reply(service.engine.anonymous.report(), 200, NO_STORE)


def regulation(service: Service, call: Call) -> Reply:
    """How far it has come. Raises :class:`NotFound`."""
    regulate_id = call.param("regulate_id")
    service.audit.note(call.who, "erasure.read", erasure=regulate_id[:64])
    if service.engine.rights.suppression(regulate_id) is not None:
        return json_reply(Regulated(regulate_id, "FINISHED"), 200, NO_STORE)
    found = service.engine.erasure(regulate_id)
    if isinstance(found, Erasing):
        state: Literal["FAILED", "RUNNING"] = "FAILED" if found.failure else "RUNNING"
        told = Regulated(regulate_id, state, error=found.failure)
    else:
        done: Literal["FINISHED", "PARTIAL_SUCCESS"] = (
            "PARTIAL_SUCCESS" if found.state == "PARTIAL_SUCCESS" else "FINISHED"
        )
        told = Regulated(regulate_id, done, msgspec.to_builtins(found))
    return json_reply(told, 200, NO_STORE)
