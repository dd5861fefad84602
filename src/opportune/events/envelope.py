"""The outside of a tracking request: which events it carries, under which key, sent when.

The events stay bytes here, so that one that cannot be read never spoils another.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from opportune.clock import Millis
from opportune.errors import InvalidRequest
from opportune.events import moments
from opportune.events.salvage import is_writable, mend, salvage, tidied
from opportune.events.wire import MAX_DEPTH, path_in, unreadable, without_path

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_BATCH_ITEMS = 10_000
SOFT_BATCH_ITEMS = 2_500
"""What clients send at most; beyond it, up to :data:`MAX_BATCH_ITEMS`, is taken all the same."""

RawItem: TypeAlias = "msgspec.Raw | bytes"


class Batch(NamedTuple):
    """A request body taken apart as far as is safe: each item is still bytes, so one cannot spoil another."""

    items: list[RawItem]
    sent_at: Millis | None
    write_key: str
    context: dict[str, Any] | None
    integrations: dict[str, Any] | None


class _BatchBody(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: Any = None
    write_key: Any = None
    context: Any = None
    integrations: Any = None


class _SingleBody(msgspec.Struct, rename="camel"):
    sent_at: Any = None
    write_key: Any = None


_decode_batch = msgspec.json.Decoder(_BatchBody).decode
_decode_single = msgspec.json.Decoder(_SingleBody).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


SALVAGE_BYTES = 1024 * 1024
"""Broken bodies beyond this are refused whole: taking them apart could hold everybody up for a second. Twice
what clients send in one batch."""


def split_batch(body: bytes) -> Batch:
    """Take a batch body apart. O(len(body)); about 0.2 us per item.

    Raises :class:`InvalidRequest` for a body that is not JSON at all, has no list ``batch``, or is over the
    limits. A body of at most 1 MB in which some items are broken (NaN, nesting, cut surrogates) is still
    taken apart.
    """
    _check_size(body)
    try:
        found = _decode_batch(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            without_path(error),
            where=path_in(error),
            remedy='send {"batch": [event, ...], "sentAt": "..."}',
        ) from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        salvaged = salvage(body) if len(body) <= SALVAGE_BYTES else None
        if salvaged is None:
            raise _unreadable_body(error) from error
        _check_count(len(salvaged))
        items = salvaged.items()
        if not any(map(_is_readable, items)):
            raise _unreadable_body(error) from error
        rest = salvaged.rest
        found = _BatchBody(
            [], rest.get("sentAt"), rest.get("writeKey"), rest.get("context"), rest.get("integrations")
        )
        return _batch([*items], found)
    return _batch([*found.batch], found)


def split_single(body: bytes) -> Batch:
    """The body of a single-event endpoint as a batch of one. Only the key and the sending time are read: an
    event that cannot be read further is refused by ``segment.normalize``, with its reason.

    Raises :class:`InvalidRequest` for a body that is not a JSON object or is over the limits.
    """
    _check_size(body)
    try:
        found = _decode_single(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            without_path(error), where=path_in(error), remedy="send one event as a JSON object"
        ) from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        try:
            found = _decode_single(mend(body))
        except (msgspec.DecodeError, RecursionError, ValueError):
            raise _unreadable_body(error) from error
    return Batch([body], sending_time(found.sent_at), _key(found.write_key), None, None)


def pixel_body(data: str) -> bytes:
    """The event in the pixel endpoints' ``data``: base64 in either alphabet, padding optional."""
    text = data.strip().replace("-", "+").replace("_", "/").replace(" ", "+")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "the pixel's data is not base64", where="data", remedy="send base64 of one event as JSON"
        ) from error


def sending_time(sent: Any) -> Millis | None:
    """``sentAt`` as milliseconds. The transport's clock never refuses an event: what cannot be read counts
    as absent."""
    if type(sent) is datetime:
        return moments.instant(sent)
    if type(sent) not in (str, int, float):
        return None
    try:
        return moments.read(sent)
    except (moments.BadTime, OverflowError):
        return None


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"the body is larger than {MAX_BODY_BYTES} bytes",
            seen=len(body),
            remedy="send smaller batches (500 kB is customary)",
        )


def _unreadable_body(error: Exception) -> InvalidRequest:
    return InvalidRequest(unreadable(error), where="$", remedy="send a JSON object in UTF-8")


def _is_readable(item: bytes) -> bool:
    for attempt in (item, mend(item)):
        try:
            _decode_raw(attempt)
        except RecursionError:
            return True  # JSON, though not of a kind that we keep
        except (msgspec.DecodeError, ValueError):
            continue
        return True
    return False


def _check_count(count: int) -> None:
    if count > MAX_BATCH_ITEMS:
        raise InvalidRequest(
            f"a batch holds at most {MAX_BATCH_ITEMS} events",
            seen=count,
            where="$.batch",
            remedy=f"send smaller batches ({SOFT_BATCH_ITEMS} events is customary)",
        )


def _batch(items: list[RawItem], found: _BatchBody) -> Batch:
    _check_count(len(items))
    return Batch(
        items,
        sending_time(found.sent_at),
        _key(found.write_key),
        _shared(found.context, "$.context"),
        _shared(found.integrations, "$.integrations"),
    )


def _key(sent: Any) -> str:
    return sent if type(sent) is str else ""


def _shared(sent: Any, where: str) -> dict[str, Any] | None:
    """What a batch says once for all its items."""
    found = _object(sent)
    if found is None or is_writable(found.values(), MAX_DEPTH - 2):
        return found
    return _object(tidied(found, MAX_DEPTH, where))


def _object(sent: Any) -> dict[str, Any] | None:
    return sent if type(sent) is dict and sent else None
