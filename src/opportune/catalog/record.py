"""What is kept of one item: each attribute with when and from whom it is known."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.errors import Corrupt

FROM_EVENTS = 0
"""Learnt by the way, from what shoppers' events said about the item."""
FROM_CATALOGUE = 1
"""Said by the catalogue itself; always wins over what events said."""

MAX_ATTRIBUTES = 100
MAX_TEXT_CHARS = 2_000
MAX_VALUE_BYTES = 4_096

Attribute = tuple[Any, Millis, int]
"""Value (``None``: withdrawn), event time, source rank."""

_encoder = msgspec.msgpack.Encoder(order="sorted")
_value_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Change(IntEnum):
    """What an update did to a record: nothing, only said again what stood (from a later time on), or more."""

    NOTHING = 0
    TIMES = 1
    VALUES = 2


class ItemRecord(msgspec.Struct, array_like=True):
    """The keyed record ``item:<id>``.

    ``offset`` is the last journal sequence that changed it, ``first`` the earliest catalogue update (0: none
    yet). Per attribute the highest (rank, time, value as bytes) stands, which is the same whatever the order.
    Bounded: at most ``MAX_ATTRIBUTES`` (the first by name), texts of ``MAX_TEXT_CHARS``, values of
    ``MAX_VALUE_BYTES``.
    """

    offset: int = 0
    first: Millis = 0
    attributes: dict[str, Attribute] = {}

    def fold(self, attributes: Mapping[str, Any], time: Millis, rank: int, offset: int = 0) -> Change:
        """Take in what was said at ``time``; says how much of it was new."""
        changed = Change.NOTHING
        mine = self.attributes
        for name, raw in attributes.items():
            value = bounded(raw)
            if value is _REFUSED or not name or len(name) > 100:
                continue
            offered = (value, time, rank)
            if name not in mine:
                if len(mine) >= MAX_ATTRIBUTES:
                    last = max(mine)
                    if name > last:
                        continue
                    del mine[last]
            elif not _wins(offered, mine[name]):
                continue
            standing = mine.get(name)
            if (
                standing is None
                or standing[0] != value
                or type(standing[0]) is not type(value)
                or standing[2] != rank
            ):
                changed = Change.VALUES
            elif not changed:
                changed = Change.TIMES
            mine[name] = offered
        if rank >= FROM_CATALOGUE and (self.first == 0 or time < self.first):
            self.first = time
            changed = Change.VALUES
        if changed and offset > self.offset:
            self.offset = offset
        return changed

    def value(self, name: str) -> Any:
        """The value that stands, or None."""
        known = self.attributes.get(name)
        return None if known is None else known[0]


def _wins(offered: Attribute, standing: Attribute) -> bool:
    if offered[2] != standing[2]:
        return offered[2] > standing[2]
    if offered[1] != standing[1]:
        return offered[1] > standing[1]
    if isinstance(offered[0], str) and offered[0] == standing[0]:
        return False
    # As bytes, because equal values such as 1, 1.0 and True are kept differently.
    return _value_encoder.encode(offered[0]) > _value_encoder.encode(standing[0])


_REFUSED: Any = object()


def bounded(value: Any) -> Any:
    """The value cut to size, or a marker when it cannot be kept (too large, or not a JSON value)."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= MAX_TEXT_CHARS else value[:MAX_TEXT_CHARS]
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _REFUSED
    if kind is float or kind is bool or value is None:
        return value
    try:
        return value if len(_value_encoder.encode(value)) <= MAX_VALUE_BYTES else _REFUSED
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _REFUSED


_decoder = msgspec.msgpack.Decoder(ItemRecord)


class Facts(msgspec.Struct, gc=False):
    """The attributes of a record that become columns; the others are skipped without being decoded."""

    price: Attribute | None = None
    category: Attribute | None = None
    brand: Attribute | None = None
    available: Attribute | None = None
    in_stock: Attribute | None = None
    availability: Attribute | None = None
    stock: Attribute | None = None
    deleted: Attribute | None = None
    created_at: Attribute | None = None


class ColumnRecord(msgspec.Struct, array_like=True, gc=False):
    """:class:`ItemRecord` as far as columns need it."""

    offset: int
    first: Millis
    attributes: Facts


_column_decoder = msgspec.msgpack.Decoder(ColumnRecord)


def decode_columns(data: bytes) -> ColumnRecord:
    """What the columns need of a record, at half the cost of all of it. Raises :class:`Corrupt`."""
    try:
        return _column_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"an item record cannot be read ({error})", remedy="rebuild from the journal"
        ) from error


class Names(msgspec.Struct, gc=False):
    """The attributes that an item is called by."""

    name: Attribute | None = None
    title: Attribute | None = None


class NamesRecord(msgspec.Struct, array_like=True, gc=False):
    """:class:`ItemRecord` as far as sentences need it."""

    offset: int
    first: Millis
    attributes: Names


_names_decoder = msgspec.msgpack.Decoder(NamesRecord)


def decode_names(data: bytes) -> tuple[Any, Any]:
    """The values of ``name`` and ``title``, None where there is none. Raises :class:`Corrupt`."""
    try:
        names = _names_decoder.decode(data).attributes
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"an item record cannot be read ({error})", remedy="rebuild from the journal"
        ) from error
    return names.name and names.name[0], names.title and names.title[0]


def encode_item(record: ItemRecord) -> bytes:
    """Canonical bytes: equal records have equal bytes."""
    return _encoder.encode(record)


def decode_item(data: bytes) -> ItemRecord:
    """The record back from its bytes. Raises :class:`Corrupt` on bytes of another shape."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"an item record cannot be read ({error})", remedy="rebuild from the journal"
        ) from error
