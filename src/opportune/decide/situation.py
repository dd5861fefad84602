"""Where the person is and what they just did: the request's context and session in item numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.world import Touch
from opportune.events.event import Event
from opportune.profiles.leaf import TOUCHES
from opportune.recommend.source import Floats, Items, Kind

SESSION_ITEMS = 50

KIND_OF_TOUCH: dict[str, Kind] = {
    "view": Kind.VIEW,
    "cart": Kind.CART,
    "wish": Kind.CART,
    "buy": Kind.BUY,
}
"""The touches that say something about taste, as the sources learn them."""


class Place(msgspec.Struct, frozen=True):
    """The page: item number and category number, -1 where there is none."""

    item: int = -1
    category: int = -1


NOWHERE = Place()


def place_of(context: Mapping[str, Any], catalog: Catalog) -> Place:
    """Read the request's context: ``item_id`` and ``category``, else what ``page`` says
    (``/product/<id>``, ``/category/<name>``). The category of the item stands in for a missing one."""
    if not context:
        return NOWHERE
    item = catalog.number(_text(context.get("item_id")) or _text(context.get("product_id")))
    category = _category(_text(context.get("category")), catalog)
    page = _text(context.get("page"))
    if len(page) > 1 and (item < 0 or category < 0):
        section, name = _page(page)
        if item < 0 and section in _ITEM_PAGES:
            item = catalog.number(name)
        elif category < 0 and section in _CATEGORY_PAGES:
            category = _category(name, catalog)
    if category < 0 <= item:
        category = int(catalog.category[item])
    return Place(item, category)


_ITEM_PAGES = frozenset(("product", "products", "p", "item", "items"))
_CATEGORY_PAGES = frozenset(("category", "categories", "c", "collections"))


def _page(page: str) -> tuple[str, str]:
    """The last two parts of a path: ``/shop/category/shoes?x=1`` is (``category``, ``shoes``)."""
    path = page.split("?", 1)[0].split("#", 1)[0].rstrip("/")
    head, _, name = path.rpartition("/")
    return head.rpartition("/")[2].lower(), unquote(name)


def _category(name: str, catalog: Catalog) -> int:
    return catalog.category_number(name) if name else -1


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()[:256]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else ""


class Session(msgspec.Struct, frozen=True):
    """What the session touched, oldest first, at most ``SESSION_ITEMS``: parallel arrays as in
    :class:`~opportune.recommend.source.Query`. ``touched`` maps item number to the words of its touches."""

    item: Items
    kind: np.ndarray[Any, np.dtype[np.int8]]
    age_s: Floats
    touched: dict[int, set[str]]


NO_SESSION = Session(
    np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int8), np.zeros(0, dtype=np.float32), touched={}
)


def inline_touches(events: Iterable[Event]) -> list[tuple[str, str, Millis]]:
    """(item id, word, time) of every line of the inline events that touches an item."""
    return [
        (line.item_id, TOUCHES[event.name], event.time)
        for event in events
        if event.name in TOUCHES
        for line in event.lines
    ]


def session_of(touches: Sequence[Touch], events: Sequence[Event], now: Millis, catalog: Catalog) -> Session:
    """The session from what is stored and what the request carries inline, each touch once.

    Items that the catalogue does not know are left out. An item that was taken out of the cart is no longer
    touched as ``cart``.
    """
    told = [(touch.item_id, touch.kind, touch.time) for touch in touches[-4 * SESSION_ITEMS :]]
    if events:
        told += inline_touches(events)
        told = sorted(dict.fromkeys(told), key=_time)
    if not told:
        return NO_SESSION
    number_of, kind_of = catalog.number, KIND_OF_TOUCH.get
    numbers: list[int] = []
    kinds: list[int] = []
    times: list[Millis] = []
    touched: dict[int, set[str]] = {}
    for item_id, word, time in told:
        number = number_of(item_id)
        if number < 0:
            continue
        known = touched.get(number)
        if known is None:
            touched[number] = {word}
        else:
            known.add(word)
            if word == "remove":
                known.discard("cart")
        kind = kind_of(word)
        if kind is not None:
            numbers.append(number)
            kinds.append(kind)
            times.append(time)
    ages = [(now - time) / 1000.0 if time < now else 0.0 for time in times[-SESSION_ITEMS:]]
    return Session(
        np.array(numbers[-SESSION_ITEMS:], dtype=np.int32),
        np.array(kinds[-SESSION_ITEMS:], dtype=np.int8),
        np.array(ages, dtype=np.float32),
        touched,
    )


def _time(touch: tuple[str, str, Millis]) -> Millis:
    return touch[2]
