"""The outside of a tracking post: which events it carries, under which key, sent when.

The events themselves stay raw JSON here, so that one bad item never spoils its batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from opportune.server.contract import RawItem
from opportune.server.refusals import TooLarge, UnreadableJson

BATCH_LIMIT = 2_500
"""Events per post."""

_ABSENT = msgspec.Raw(b"")


class Envelope(NamedTuple):
    items: Sequence[RawItem]
    write_key: str
    sent_at: str | None
    context: dict[str, Any] | None


class _Batch(msgspec.Struct, rename="camel", gc=False):
    batch: list[msgspec.Raw]
    write_key: msgspec.Raw = _ABSENT
    sent_at: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT


class _Single(msgspec.Struct, rename="camel", gc=False):
    write_key: msgspec.Raw = _ABSENT
    sent_at: msgspec.Raw = _ABSENT


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_single = msgspec.json.Decoder(_Single).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def open_single(body: bytes) -> Envelope:
    """A body that is one event. O(body); 0.5 us for 500 bytes."""
    try:
        single = _decode_single(body)
    except msgspec.ValidationError:
        return Envelope((body,), "", None, None)  # JSON, but not an object: the engine will say so
    except (msgspec.DecodeError, RecursionError) as error:
        return _lenient(body, error, batch=False)
    return Envelope((body,), _text(single.write_key) or "", _text(single.sent_at), None)


def open_batch(body: bytes) -> Envelope:
    """A body ``{"batch": [...], "sentAt", "writeKey", "context"}``. A readable body of another shape counts
    as one item, which the engine will reject with its reason."""
    try:
        batch = _decode_batch(body)
    except msgspec.ValidationError:
        return Envelope((body,), _text_at(body, "writeKey"), None, None)
    except (msgspec.DecodeError, RecursionError) as error:
        return _lenient(body, error, batch=True)
    _check_size(batch.batch)
    return Envelope(batch.batch, _text(batch.write_key) or "", _text(batch.sent_at), _object(batch.context))


def open_list(body: bytes) -> Sequence[RawItem]:
    """A body that is a JSON array of events."""
    try:
        items = _decode_items(body)
    except msgspec.ValidationError:
        return (body,)
    except (msgspec.DecodeError, RecursionError) as error:
        parts = split_array(body, 0)
        if parts is None:
            raise _unreadable(error) from error
        _check_size(parts)
        return parts
    _check_size(items)
    return items


def _check_size(items: Sequence[RawItem]) -> None:
    if len(items) > BATCH_LIMIT:
        raise TooLarge(
            f"a batch holds at most {BATCH_LIMIT} events",
            seen=len(items),
            where="$.batch",
            remedy="send it in several posts",
        )


def _text(raw: msgspec.Raw) -> str | None:
    if raw is _ABSENT:
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _object(raw: msgspec.Raw) -> dict[str, Any] | None:
    if raw is _ABSENT:
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text_at(body: bytes, field: str) -> str:
    found = re.search(rb'"' + field.encode() + rb'"\s*:\s*"([^"\\]*)"', body)
    return found[1].decode("utf-8", "replace") if found else ""


# -- what a strict decoder refuses but a person would call one bad item in a good batch ----------------------

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def split_array(body: bytes, start: int) -> list[bytes] | None:
    """The elements of the JSON array that begins at or after ``start``, by brackets and strings only; None
    when the brackets do not balance. Clients do send NaN, lone surrogates and 10,000 nested levels: a strict
    decoder refuses the whole batch for one such item, this finds where it begins and ends. O(body).

    >>> split_array(b'[{"a": NaN}, {"b": "],["}]', 0)
    [b'{"a": NaN}', b'{"b": "],["}']
    """
    opening = body.find(b"[", start)
    if opening < 0 or body[start:opening].strip():
        return None
    parts: list[bytes] = []
    depth, begin = 0, opening + 1
    for token in _TOKEN.finditer(body, opening):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                last = body[begin : token.start()].strip()
                if last or parts:
                    parts.append(last)
                return parts
        elif mark == b"," and depth == 1:
            parts.append(body[begin : token.start()].strip())
            begin = token.end()
    return None


_BATCH_KEY = re.compile(rb'"batch"\s*:\s*(?=\[)')


def _lenient(body: bytes, error: Exception, *, batch: bool) -> Envelope:
    text = body.strip()
    if not _balanced(text):
        raise _unreadable(error) from error
    write_key, sent_at = _text_at(text, "writeKey"), _text_at(text, "sentAt") or None
    if not batch:
        if isinstance(error, RecursionError):
            return Envelope((text,), write_key, sent_at, None)
        raise _unreadable(error) from error
    found = _BATCH_KEY.search(text)
    parts = split_array(text, found.end()) if found else None
    if parts is None or all(_bad(part) for part in parts):
        raise _unreadable(error) from error
    _check_size(parts)
    return Envelope(parts, write_key, sent_at, None)


def _balanced(text: bytes) -> bool:
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in (b"[", b"{"):
            depth += 1
        elif token[0] in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                return token.end() == len(text)
    return False


def _bad(part: bytes) -> bool:
    try:
        _decode_raw(part)
    except msgspec.DecodeError:
        return True
    except RecursionError:
        return False
    return False


def _unreadable(error: Exception) -> UnreadableJson:
    return UnreadableJson(f"the body is not readable JSON ({error})", remedy="send one JSON document")
