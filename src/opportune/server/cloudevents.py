"""CloudEvents 1.0 over HTTP: structured, batched and binary mode."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from opportune.errors import InvalidRequest
from opportune.events.cloudevents import BATCHED, DIALECT, STRUCTURED, as_structured, split_batch
from opportune.events.segment import Batch
from opportune.server.body import body_of
from opportune.server.call import Call, Reply
from opportune.server.ingest import may_write, post
from opportune.server.pending import Pending
from opportune.server.service import Service

_decode_any = msgspec.json.Decoder(msgspec.Raw).decode


def events(service: Service, call: Call) -> Pending[Reply]:
    """Mode by content type and headers; a plain JSON post is taken by its shape (an array is a batch)."""
    grant = may_write(service, call)
    received = service.clock()
    body = body_of(call, service.limits.body_bytes)
    batch = Batch(list(items_of(call, body)), None, "", None, None)
    return post(service, call, batch, kind=None, dialect=DIALECT, received=received, grant=grant)


def items_of(call: Call, body: bytes) -> Sequence[bytes | msgspec.Raw]:
    content_type = call.header(b"content-type").partition(b";")[0].strip().lower().decode("latin-1")
    if content_type == BATCHED:
        return split_batch(body)
    if content_type != STRUCTURED:
        if call.header(b"ce-specversion"):
            headers = {
                name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in call.headers
            }
            return (as_structured(headers, body),)
        if body.lstrip()[:1] == b"[":
            return split_batch(body)
    try:
        _decode_any(body)
    except RecursionError:
        pass  # JSON, though nested too deep to keep: the engine refuses it with its reason
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            f"the body is not readable JSON ({error})", where="$", remedy="send one CloudEvent as JSON"
        ) from error
    return (body,)
