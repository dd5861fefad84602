"""CloudEvents 1.0 over HTTP: structured, batched and binary mode."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from opportune.server.body import read_body
from opportune.server.call import Call, Reply, encode_json
from opportune.server.contract import RawItem
from opportune.server.envelope import Envelope, open_list, open_single
from opportune.server.ingest import answer, authorize, shared_context
from opportune.server.service import Service

BATCH_TYPE = b"application/cloudevents-batch+json"
STRUCTURED_TYPE = b"application/cloudevents+json"


async def events(service: Service, call: Call) -> Reply:
    """Mode by content type; a plain JSON post is taken by its shape (an array is a batch)."""
    authorize(service, call)
    received = service.clock()
    body = await read_body(call, service.limits.body_bytes)
    receipt = await service.writer.ingest(
        items_of(call, body),
        kind=None,
        dialect="cloudevents",
        source=service.keys.source,
        received=received,
        sent_at=None,
        context=shared_context(call, Envelope((), "", None, None)),
    )
    return answer(call, receipt)


def items_of(call: Call, body: bytes) -> Sequence[RawItem]:
    content_type = call.header(b"content-type").partition(b";")[0].strip().lower()
    if content_type == BATCH_TYPE:
        return open_list(body)
    if content_type != STRUCTURED_TYPE and call.header(b"ce-specversion"):
        return (binary_event(call, body, content_type),)
    if content_type != STRUCTURED_TYPE and body.lstrip()[:1] == b"[":
        return open_list(body)
    return open_single(body).items


def binary_event(call: Call, body: bytes, content_type: bytes) -> bytes:
    """The structured form of a binary-mode request: ``ce-*`` headers are attributes, the body is the data."""
    attributes: dict[str, object] = {
        name[3:].decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in call.scope["headers"]
        if name.startswith(b"ce-")
    }
    if content_type:
        attributes["datacontenttype"] = content_type.decode("latin-1")
    if body:
        if content_type == b"application/json" or content_type.endswith(b"+json") or not content_type:
            open_single(body)  # refuses what is not JSON
            attributes["data"] = msgspec.Raw(body)
        else:
            try:
                attributes["data"] = body.decode("utf-8")
            except UnicodeDecodeError:
                attributes["data_base64"] = base64.b64encode(body).decode()
    return encode_json(attributes)
