"""What an item's attributes say, however a feed spells it: its price, whether it can be shown, since when."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from opportune.catalog.columns import label
from opportune.catalog.record import Facts, ItemRecord
from opportune.clock import Millis


def columns_of(record: ItemRecord) -> tuple[float, str, str, bool]:
    """Price, category, brand and availability of a record."""
    attributes = record.attributes
    known = attributes.get("price")
    price = price_of(known[0]) if known else float("nan")
    known = attributes.get("category")
    category = label(known[0]) if known else ""
    known = attributes.get("brand")
    brand = label(known[0]) if known else ""
    return price, category, brand, is_available(record)


def price_of(value: Any) -> float:
    """A price as a number; NaN for what is none (texts, negatives, infinities).

    >>> [price_of(v) for v in (3, "12.50", True, -1, "free")]
    [3.0, 12.5, nan, nan, nan]
    """
    if type(value) is float:
        return value if 0 <= value < 1e12 else math.nan
    if isinstance(value, bool) or not isinstance(value, int | str):
        return math.nan
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return price if 0 <= price < 1e12 else math.nan


_OUT_OF_STOCK = frozenset(
    ("out of stock", "out_of_stock", "outofstock", "discontinued", "sold out", "false", "no")
)
_STOCK = ("deleted", "available", "in_stock", "availability", "stock")


def can_be_shown(facts: Facts) -> bool:
    """Not deleted, and the first of the stock attributes that says anything says yes."""
    if facts.deleted is not None and facts.deleted[0]:
        return False
    for said in (facts.available, facts.in_stock):
        if said is not None and said[0] is not None:
            return _says_yes(said[0])
    if facts.availability is not None and isinstance(facts.availability[0], str):
        return _says_yes(facts.availability[0].rpartition("/")[2])
    if facts.stock is not None and isinstance(facts.stock[0], int | float):
        return facts.stock[0] > 0
    return True


def is_available(record: ItemRecord) -> bool:
    """:func:`can_be_shown` of a whole record."""
    known = record.attributes
    return can_be_shown(Facts(**{name: known[name] for name in _STOCK if name in known}))


def _says_yes(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _OUT_OF_STOCK
    return bool(value)


def since(stated: Any, first: Millis) -> Millis:
    """When the item became part of the assortment: ``created_at`` (ISO 8601 or ms), else the first update."""
    if isinstance(stated, int | float) and 0 < stated < 2**53:
        return int(stated)
    if isinstance(stated, str):
        try:
            return int(datetime.fromisoformat(stated).timestamp() * 1000)
        except (ValueError, OverflowError):
            return first
    return first
