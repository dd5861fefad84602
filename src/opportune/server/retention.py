"""What is done once a day: retention, also over HTTP, and publishing anonymous counts."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from opportune.engine.anonymous_desk import AnonymousDesk
from opportune.engine.retention_desk import RetentionDesk
from opportune.engine.retiring import Retiring
from opportune.errors import OpportuneError
from opportune.privacy.laplace import laplace
from opportune.server.body import body_of
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.decisions import wrong_shape
from opportune.server.long_work import in_turns
from opportune.server.service import Service

log = logging.getLogger("opportune.privacy")
LOOK_EVERY_S = 600.0
_running: set[asyncio.Task[None]] = set()


class RetentionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``dry_run`` only says what would go."""

    dry_run: bool = False


_decode = msgspec.json.Decoder(RetentionRequest).decode


def retire(service: Service, call: Call) -> Reply:
    """Begin a run; :func:`state` says how far it is. Raises :class:`Overloaded` while another runs."""
    try:
        asked = _decode(body_of(call, service.limits.body_bytes) or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    desk = service.engine.retention
    service.audit.note(call.who, "retention.run", changed=not asked.dry_run, dry_run=str(asked.dry_run))
    task = asyncio.get_running_loop().create_task(drive(desk, desk.begin(dry_run=asked.dry_run)))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return json_reply(desk.state(), 200, NO_STORE)


def state(service: Service, call: Call) -> Reply:
    """How the last run went, and the rules."""
    service.audit.note(call.who, "retention.read")
    return json_reply(service.engine.retention.state(), 200, NO_STORE)


async def drive(desk: RetentionDesk, retiring: Retiring) -> None:
    """One run to its end."""
    try:
        await in_turns(desk.turns(retiring))
    except (OSError, OpportuneError) as error:
        log.error("retention is not finished: %s", error)
        desk.failed(str(error))
    else:
        told = retiring.report
        log.info("retention: %s events, %s s", sum(told.events.values()), told.seconds)


async def watch_anonymous(desk: AnonymousDesk, every_s: float = LOOK_EVERY_S) -> None:
    """Publish finished days, as long as the server runs. Importing OpenDP takes seconds: in a
    thread."""
    while True:
        if desk.has_finished():
            try:
                await asyncio.to_thread(laplace, (0,), 1.0)
                desk.release(laplace)
            except OpportuneError as error:
                log.warning("anonymous counts are not published: %s", error)
        await asyncio.sleep(every_s)


async def watch_retention(desk: RetentionDesk, every_s: float = LOOK_EVERY_S) -> None:
    """Run when the day's hour has come, as long as the server runs."""
    while True:
        await asyncio.sleep(every_s)
        if desk.due():
            await drive(desk, desk.begin())
