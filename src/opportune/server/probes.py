"""What machines ask about the server itself: is it up, is it ready, how is it doing, what does it speak."""

from __future__ import annotations

from importlib.metadata import version

from opportune.errors import NotFound
from opportune.server.call import NO_STORE, Call, Reply, json_reply
from opportune.server.metrics import CONTENT_TYPE
from opportune.server.service import Service

VERSION = version("opportune")


def health(service: Service, call: Call) -> Reply:
    """The process answers. Says nothing about the disk: a restart would not help a full one."""
    return json_reply({"status": "ok", "version": VERSION}, 200, NO_STORE)


def ready(service: Service, call: Call) -> Reply:
    """200 when posts would be acknowledged and decisions answered, else 503 with the reason."""
    state = service.engine.ready()
    good = bool(state.get("ready", True)) and service.writer.healthy
    body = {**state, "ready": good, "queued_events": service.writer.queued}
    if service.writer.failure:
        body["reason"] = service.writer.failure
    return json_reply(body, 200 if good else 503, NO_STORE)


def metrics(service: Service, call: Call) -> Reply:
    """Open on purpose: scrapers rarely carry keys, and no label ever names a person or an item."""
    return Reply(200, service.metrics.render(), ((b"content-type", CONTENT_TYPE.encode()), NO_STORE))


def settings(service: Service, call: Call) -> Reply:
    """What the browser SDK loads first. Only ``Segment.io``: any other key makes it fetch code elsewhere."""
    write_key = call.param("write_key")
    grant = service.keys.grant(write_key)
    if grant is None or not grant.is_public:
        raise NotFound("no project has this write key", remedy="check the write key in the page")
    host = call.header(b"host").decode("latin-1")
    forwarded = call.header(b"x-forwarded-proto")
    protocol = forwarded.decode() if forwarded in (b"http", b"https") else call.scheme
    segment = {"apiKey": write_key, "apiHost": f"{host}/v1", "protocol": protocol}
    return json_reply(
        {"integrations": {"Segment.io": segment}}, 200, (b"cache-control", b"private, max-age=300")
    )


def global_privacy_control(service: Service, call: Call) -> Reply:
    return json_reply({"gpc": True, "lastUpdate": service.gpc_updated})
