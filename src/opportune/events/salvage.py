"""The slow path for broken bodies: find the items of a batch without believing its JSON.

Only runs when the decoder refused the whole body, so that one poisoned event (a bare NaN, 10,000 levels of
nesting, half a surrogate pair) does not take the other events of its batch with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from opportune.events.rejected import TOO_DEEP, Rejected

MAX_SALVAGED_BYTES = 1024 * 1024
"""A larger broken body is refused as a whole: cutting costs up to 0.2 s per megabyte."""

_LEAST = -(2**63)
_MOST = 2**63 - 1

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]+|[\]}]+|,', re.DOTALL)
_BATCH_KEY = re.compile(rb'"batch"\s*:\s*\[')
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def items_of(body: bytes) -> tuple[list[bytes], dict[str, Any]] | None:
    """The items of the top-level ``batch`` list as bytes, and the other top-level fields; None when brackets
    or quotes do not match, there is no such list, or the body is over :data:`MAX_SALVAGED_BYTES`. O(n)."""
    if len(body) > MAX_SALVAGED_BYTES:
        return None
    start = _batch_start(body)
    if start is None:
        return None
    items: list[bytes] = []
    depth = 0
    begin = start
    for token in _TOKEN.finditer(body, start):
        first = token[0][0]
        if first in b"[{":
            depth += len(token[0])
        elif first in b"]}":
            if depth - len(token[0]) < 0:
                end = token.start() + depth
                last = body[begin:end].strip()
                if last or items:
                    items.append(last)
                rest = _rest(body[:start] + b"]" + body[end + 1 :])
                return None if rest is None else (items, rest)
            depth -= len(token[0])
        elif first == 0x2C and depth == 0:
            items.append(body[begin : token.start()].strip())
            begin = token.end()
    return None


def _batch_start(body: bytes) -> int | None:
    """The offset just after the ``[`` of the top-level ``batch``."""
    depth = 0
    for token in _TOKEN.finditer(body):
        first = token[0][0]
        if first in b"[{":
            depth += len(token[0])
        elif first in b"]}":
            depth -= len(token[0])
        elif depth == 1 and token[0] == b'"batch"':
            opened = _BATCH_KEY.match(body, token.start())
            if opened:
                return opened.end()
    return None


def _rest(body: bytes) -> dict[str, Any] | None:
    """The envelope with its batch emptied; None when that is broken too."""
    try:
        found = msgspec.json.decode(mend(body), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return found


def mend(data: bytes) -> bytes:
    """Replace escaped halves of surrogate pairs by U+FFFD; the very same object when there are none."""
    if b"\\u" not in data:
        return data
    parts: list[bytes] = []
    done = 0
    high: re.Match[bytes] | None = None
    for escape in _ESCAPE.finditer(data):
        code = int(escape[1], 16) if escape[1] else 0
        if 0xDC00 <= code <= 0xDFFF and high is not None and high.end() == escape.start():
            high = None
            continue
        if high is not None:
            parts += (data[done : high.start()], b"\\ufffd")
            done = high.end()
            high = None
        if 0xD800 <= code <= 0xDBFF:
            high = escape
        elif 0xDC00 <= code <= 0xDFFF:
            parts += (data[done : escape.start()], b"\\ufffd")
            done = escape.end()
    if high is not None:
        parts += (data[done : high.start()], b"\\ufffd")
        done = high.end()
    return data if not parts else b"".join((*parts, data[done:]))


def is_writable(values: Iterable[Any], depth: int) -> bool:
    """Whether these decoded values need no :func:`tidied`: no whole number beyond 64 bits, and containers
    nested at most ``depth`` deep. 30 ns a value."""
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is dict:
            if depth == 0 or not is_writable(value.values(), depth - 1):
                return False
        elif kind is list:
            if depth == 0 or not is_writable(value, depth - 1):
                return False
        elif kind is int and not _LEAST <= value <= _MOST:
            return False
    return True


def tidied(value: Any, max_depth: int, where: str) -> Any:
    """The same JSON value with whole numbers beyond 64 bits as text; :class:`Rejected` when nested too deep.
    ``where`` is the path of the value; ``max_depth`` counts it as the first level below the event."""
    kind = type(value)
    if kind is dict or kind is list:
        if max_depth <= 1:
            raise Rejected(TOO_DEEP, "nested too deep", where[:200], remedy="flatten the event")
        if kind is dict:
            return {key: tidied(inner, max_depth - 1, f"{where}.{key}") for key, inner in value.items()}
        return [tidied(inner, max_depth - 1, f"{where}[{index}]") for index, inner in enumerate(value)]
    return str(value) if kind is int and not _LEAST <= value <= _MOST else value
