"""Stopping and resuming experiments over HTTP."""

from __future__ import annotations

from typing import Literal

import msgspec

from opportune.server.body import body_of
from opportune.server.call import Call, Reply, json_reply
from opportune.server.decisions import wrong_shape
from opportune.server.pending import Pending
from opportune.server.service import Service


class SwitchRequest(msgspec.Struct):
    """``why`` is a sentence for the record."""

    why: str = ""


class Switched(msgspec.Struct):
    success: bool = True


_decode = msgspec.json.Decoder(SwitchRequest).decode


def stop(service: Service, call: Call) -> Pending[Reply]:
    return _switch(service, call, "stop")


def resume(service: Service, call: Call) -> Pending[Reply]:
    return _switch(service, call, "resume")


def _switch(service: Service, call: Call, action: Literal["stop", "resume"]) -> Pending[Reply]:
    body = body_of(call, service.limits.body_bytes)
    try:
        asked = _decode(body) if body else SwitchRequest()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise wrong_shape(error) from error
    experiment_id = call.param("experiment_id")
    admission = service.engine.switch_experiment(experiment_id, action, asked.why)
    service.audit.note(call.who, f"experiment.{action}", changed=True, experiment=experiment_id[:200])
    return service.writer.commit(admission).map(lambda _: json_reply(Switched()))
