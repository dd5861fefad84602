"""The wire's shape of one tracking call, decoded strictly where it can be and liberally where it must be.

The strict shape reads times and proves, at no cost, that the whole call fits a journal entry; what is out of
the ordinary is decoded again into the liberal one, which is checked in Python. Both have the same fields.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import msgspec

from opportune.events.rejected import TOO_DEEP, UNREADABLE, WRONG_TYPE, Rejected
from opportune.events.salvage import is_writable, mend, tidied

MAX_DEPTH = 64
"""Levels of nesting in an event. Beyond a thousand the encoder of the journal would give up."""
_INNER_DEPTH = MAX_DEPTH - 2

_Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Flat: TypeAlias = str | _Whole | float | bool | None
_Level1: TypeAlias = _Flat | list[_Flat] | dict[str, _Flat]
_Level2: TypeAlias = _Flat | list[_Level1] | dict[str, _Level1]
_Level3: TypeAlias = _Flat | list[_Level2] | dict[str, _Level2]
_Level4: TypeAlias = _Flat | list[_Level3] | dict[str, _Level3]
_Object: TypeAlias = dict[str, _Level4] | None
_Anything: TypeAlias = "dict[str, Any] | None"


class PlainItem(msgspec.Struct, rename="camel", gc=False):
    """A call as nearly every client sends it, most of the time: the fast twin of :class:`LooseItem`."""

    type: str | None = None
    event: str | None = None
    user_id: str | _Whole | None = None
    anonymous_id: str | None = None
    message_id: str | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    properties: _Object = None
    traits: _Object = None
    context: _Object = None
    integrations: _Object = None
    previous_id: str | None = None
    group_id: str | None = None
    name: str | None = None
    category: str | None = None
    decision_id: str | None = msgspec.field(default=None, name="decision_id")


class LooseItem(msgspec.Struct, rename="camel", gc=False):
    """A call as it may come: numbers as ids and times, text as times, anything where it has no meaning."""

    type: str | None = None
    event: Any = None
    user_id: str | int | float | None = None
    anonymous_id: str | int | float | None = None
    message_id: str | int | None = None
    timestamp: str | int | float | None = None
    original_timestamp: str | int | float | None = None
    sent_at: Any = None
    properties: _Anything = None
    traits: _Anything = None
    context: _Anything = None
    integrations: Any = None
    previous_id: str | int | float | None = None
    group_id: str | int | float | None = None
    name: Any = None
    category: Any = None
    decision_id: Any = msgspec.field(default=None, name="decision_id")


Item: TypeAlias = PlainItem | LooseItem

_decode_plain = msgspec.json.Decoder(PlainItem).decode
_decode_loose = msgspec.json.Decoder(LooseItem).decode
_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")


def decode(data: bytes) -> Item:
    """One call; :class:`Rejected` when it is not JSON, has a field of the wrong type or cannot be kept. 2 us
    for 500 bytes."""
    try:
        return _decode_plain(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return decode_loosely(data)


def decode_loosely(data: bytes) -> LooseItem:
    """The same without the fast way; the two agree."""
    try:
        item = _decode_loose(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        item = _second_try(data, error)
    _make_writable(item)
    return item


def time_as_sent(data: bytes) -> str | int | float | None:
    """The time of a call that decodes, exactly as the client wrote it."""
    item = _decode_loose(mend(data))
    return item.timestamp if item.original_timestamp is None else item.original_timestamp


def path_in(error: Exception) -> str:
    """Where a decoder's complaint is about; the root where it does not say."""
    found = _PATH.search(str(error))
    return found["path"] if found else "$"


def without_path(error: Exception) -> str:
    return _PATH.sub("", str(error)).replace("`", "")


def unreadable(error: Exception) -> str:
    """Why bytes are no JSON that we read."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x}"
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    return str(error)


def _second_try(data: bytes, error: Exception) -> LooseItem:
    """Decode once more after mending what can be mended; else say what is wrong, and where."""
    if isinstance(error, msgspec.ValidationError):
        raise Rejected(WRONG_TYPE, without_path(error), path_in(error)) from error
    if isinstance(error, RecursionError):
        raise Rejected(
            TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels", remedy="flatten the event"
        ) from error
    mended = mend(data)
    if mended is not data:
        try:
            return _decode_loose(mended)
        except (msgspec.DecodeError, RecursionError, ValueError) as again:
            error = again
    if isinstance(error, msgspec.ValidationError):
        raise Rejected(WRONG_TYPE, without_path(error), path_in(error)) from error
    raise Rejected(UNREADABLE, unreadable(error)) from error


def _make_writable(item: LooseItem) -> None:
    """Everything kept must fit a journal entry: 64-bit numbers, nested no deeper than :data:`MAX_DEPTH`."""
    if item.properties and not is_writable(item.properties.values(), _INNER_DEPTH):
        item.properties = tidied(item.properties, MAX_DEPTH, "$.properties")
    if item.context and not is_writable(item.context.values(), _INNER_DEPTH):
        item.context = tidied(item.context, MAX_DEPTH, "$.context")
    if item.traits and not is_writable(item.traits.values(), _INNER_DEPTH):
        item.traits = tidied(item.traits, MAX_DEPTH, "$.traits")
    integrations = item.integrations
    if type(integrations) is dict and integrations and not is_writable(integrations.values(), _INNER_DEPTH):
        item.integrations = tidied(integrations, MAX_DEPTH, "$.integrations")
