"""Which column means what: names that exports commonly use, overridden by ``--map column=field``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from opportune.errors import InvalidRequest
from opportune.events.ecommerce import number

Fields = Mapping[str, tuple[str, ...]]
"""A field -> the column names that mean it, in plain form, the surest first."""

PERSON: Fields = {
    "user_id": (
        "userid",
        "customerid",
        "customer",
        "personid",
        "memberid",
        "clientid",
        "shopperid",
        "custid",
    ),
    "anonymous_id": (
        "anonymousid",
        "anonid",
        "visitorid",
        "visitor",
        "deviceid",
        "cookieid",
        "browserid",
        "cookie",
    ),
    "email": ("email", "emailaddress", "customeremail", "useremail"),
    "phone": ("phone", "phonenumber", "mobile"),
    "session_id": ("sessionid", "session", "usersession", "visitid"),
}

WHEN: Fields = {
    "timestamp": (
        "timestamp", "originaltimestamp", "eventtime", "eventtimestamp", "occurredat", "datetime", "time",
        "ts", "date", "createdat", "orderdate", "invoicedate", "purchasedat", "orderedat",
    ),
}  # fmt: skip

PRODUCT: Fields = {
    "product_id": ("productid", "itemid", "sku", "stockcode", "articleid", "productcode", "item", "product"),
    "quantity": ("quantity", "qty", "units", "count"),
    "price": ("price", "unitprice", "itemprice"),
    "category": ("category", "categorycode", "catid", "categoryid", "productcategory"),
    "brand": ("brand", "brandname", "manufacturer"),
    "name": ("name", "productname", "description", "title", "itemname"),
}

NUMBERS = frozenset(
    {"quantity", "price", "position", "total", "revenue", "tax", "shipping", "discount", "stock"}
)
KINDS = ("text", "number", "boolean")
_NESTED = re.compile(r"(properties|traits|context)\.[^:\s]+\Z")
_WHOLE_FLOAT = re.compile(r"-?\d+\.0\Z")
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})


class Target(msgspec.Struct, frozen=True):
    """Where a column's values go: a field of the row's kind, or a path such as ``properties.size``; empty
    drops the column. ``kind`` is how its text is read."""

    field: str
    kind: Literal["text", "number", "boolean"] = "text"


def plain(name: str) -> str:
    """A column name without case, blanks and punctuation: ``Customer ID`` is ``customerid``."""
    return "".join(c for c in name.lower() if c.isalnum())


def read_maps(maps: Iterable[str], fields: Fields) -> dict[str, Target]:
    """``--map`` options, ``column=field`` or ``column=field:number``, by column.

    >>> read_maps(["Size=properties.size:number", "Junk="], PERSON)["Size"].kind
    'number'
    """
    found: dict[str, Target] = {}
    for text in maps:
        column, equals, target = text.rpartition("=")
        field, _, kind = target.strip().partition(":")
        column = column.strip()
        if not equals or not column:
            raise InvalidRequest(
                "a mapping is written column=field",
                seen=text,
                where="--map",
                remedy="for example --map cust=user_id",
            )
        if field and field not in fields and not _NESTED.match(field):
            raise InvalidRequest(
                "no such field to map a column to",
                seen=field,
                where="--map",
                remedy=f"use one of {', '.join(fields)}, or properties.NAME, traits.NAME, context.NAME",
            )
        if kind and kind not in KINDS:
            raise InvalidRequest(
                "a column is read as text, number or boolean",
                seen=kind,
                where="--map",
                remedy="use one of those",
            )
        read_as: Any = kind or ("number" if field in NUMBERS else "text")
        found[column] = Target(field, read_as)
    return found


_Step = tuple[str, Callable[[Any], Any] | None, str | None, str]
"""Column, how it is read, where it is nested (None: a field; empty: under its own name), and the name."""

_PLANS_REMEMBERED = 1_000


class Columns:
    """The targets of a file's columns. A column that means nothing known keeps its own name under ``rest``.

    Where several columns mean one field, the surest name gets it and the others keep their own names.
    """

    def __init__(self, fields: Fields, maps: Mapping[str, Target], *, rest: str = "properties") -> None:
        self.fields = fields
        self.maps = maps
        self.rest = rest
        self._known: dict[tuple[str, ...], list[_Step]] = {}

    def targets(self, columns: Sequence[str]) -> dict[str, Target]:
        """Column -> target."""
        return self._resolve(tuple(columns))

    def _plan(self, columns: tuple[str, ...]) -> list[_Step]:
        """How to take a row of these columns apart; remembered, since JSON rows differ in their keys."""
        known = self._known.get(columns)
        if known is None:
            if len(self._known) >= _PLANS_REMEMBERED:
                self._known.clear()
            known = self._known[columns] = [
                self._step(column, target)
                for column, target in self._resolve(columns).items()
                if target.field
            ]
        return known

    def _step(self, column: str, target: Target) -> _Step:
        reader = _READ_AS.get(target.kind)
        holder, dot, name = target.field.partition(".")
        if dot and holder in ("properties", "traits", "context"):
            return column, reader, holder, name
        return column, reader, None if target.field in self.fields else "", target.field

    def _resolve(self, columns: tuple[str, ...]) -> dict[str, Target]:
        taken = {target.field for target in self.maps.values()}
        wanted: dict[str, tuple[int, str]] = {}
        for column in columns:
            if column in self.maps:
                continue
            simple = plain(column)
            for field, names in self.fields.items():
                if field not in taken and simple in names:
                    offer = (names.index(simple), column)
                    if field not in wanted or offer < wanted[field]:
                        wanted[field] = offer
                    break
        by_column = {column: field for field, (_, column) in wanted.items()}
        targets: dict[str, Target] = {}
        for column in columns:
            if column in self.maps:
                targets[column] = self.maps[column]
            elif column in by_column:
                field = by_column[column]
                targets[column] = Target(field, "number" if field in NUMBERS else "text")
            else:
                targets[column] = Target(f"{self.rest}.{column}" if self.rest else column)
        return targets

    def apply(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """A row as (fields, nested values by ``properties``, ``traits``, ``context``, ``""`` for none)."""
        fields: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for column, reader, holder, name in self._plan(tuple(values)):
            value = values[column]
            if value is None or value == "":
                continue
            if reader is not None:
                value = reader(value)
            if holder is None:
                fields[name] = value
            elif holder in nested:
                nested[holder][name] = value
            else:
                nested[holder] = {name: value}
        return fields, nested


def as_number(value: Any) -> Any:
    """A number where the text is one (whole numbers stay whole), else the value as it is.

    >>> as_number("12"), as_number("12.50"), as_number("£1,299.00"), as_number("n/a")
    (12, 12.5, 1299.0, 'n/a')
    """
    if isinstance(value, str):
        if value.isascii() and value.lstrip("-").isdigit() and len(value) <= 15:
            return int(value)
        found = number(value)
        return value if found is None else found
    return value


def as_boolean(value: Any) -> Any:
    """True or false where the text says so, else the value as it is."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else value
    return value


def as_id(value: Any) -> str:
    """An id as text; spreadsheets write whole numbers as ``17850.0``.

    >>> as_id("17850.0"), as_id(17850.0), as_id(" A1 "), as_id(True)
    ('17850', '17850', 'A1', '')
    """
    if isinstance(value, str):
        text = value.strip()
        return text[:-2] if _WHOLE_FLOAT.match(text) else text
    if isinstance(value, bool):
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else ""


_READ_AS: dict[str, Callable[[Any], Any]] = {"number": as_number, "boolean": as_boolean}
