"""The slow path for broken bodies: find the items of a batch without believing its JSON.

Only runs when the decoder refused the whole body, so that one poisoned event (a bare NaN, 10,000 levels of
nesting, half a surrogate pair) does not take the other events of its batch with it. Anybody with the public
key can cause it, so it is linear, and about as fast as reading good JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from opportune.events.rejected import TOO_DEEP, Rejected

_LEAST = -(2**63)
_MOST = 2**63 - 1

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_BATCH = re.compile(rb'"batch"\s*:\s*\[')


class Salvaged(NamedTuple):
    """Where the items of a broken batch lie in ``body``: between neighbouring ``cuts``. ``rest`` are the
    batch's other top-level fields."""

    body: bytes
    cuts: list[int]
    rest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def items(self) -> list[bytes]:
        cuts = self.cuts
        return [self.body[cuts[n] + 1 : cuts[n + 1]].strip() for n in range(len(cuts) - 1)]


def salvage(body: bytes) -> Salvaged | None:
    """The items of the top-level ``batch`` list; None when brackets or quotes do not match, or there is no
    such list. O(n), 30 ms a megabyte."""
    plain = _ESCAPED.sub(b"__", body)
    text = np.frombuffer(plain, np.uint8)
    is_outside = (np.cumsum(text == ord('"'), dtype=np.int32) & 1) == 0
    opened = ((text == ord("[")) | (text == ord("{"))) & is_outside
    closed = ((text == ord("]")) | (text == ord("}"))) & is_outside
    depth = np.cumsum(opened.astype(np.int8) - closed.astype(np.int8), dtype=np.int32)
    start = next((found.end() for found in _BATCH.finditer(plain) if depth[found.end() - 1] == 2), None)
    if start is None or depth[start - 1 :].min() >= 2:
        return None
    end = start + int(np.argmax(depth[start:] < 2))
    rest = _rest(body[:start] + body[end:])
    if rest is None:
        return None
    if not body[start:end].strip():
        return Salvaged(body, [start - 1], rest)
    commas = (text[start:end] == ord(",")) & is_outside[start:end] & (depth[start:end] == 2)
    return Salvaged(body, [start - 1, *(np.flatnonzero(commas) + start).tolist(), end], rest)


def _rest(body: bytes) -> dict[str, Any] | None:
    """The envelope with its batch emptied; None when that is broken too."""
    try:
        return msgspec.json.decode(mend(body), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None


MEND_BYTES = 1024 * 1024
"""Longer texts are not mended: it would hold everybody up."""

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def mend(data: bytes) -> bytes:
    """JSON with the halves of surrogate pairs in it replaced by U+FFFD; the very same object where there are
    none, or something else is wrong. O(n); Python's own JSON reader lets halves pass, ours does not."""
    if len(data) > MEND_BYTES or not _HALF.search(data):
        return data
    try:
        text = json.dumps(json.loads(data.decode()), ensure_ascii=False)
    except (ValueError, RecursionError):
        return data
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


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
