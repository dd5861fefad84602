"""What an event says about items: everything when the catalogue speaks, a few facts when a shopper does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from opportune.events.event import Event, Line

_ID_FIELDS = ("product_id", "item_id", "productId", "itemId", "id", "sku")
_NOT_ATTRIBUTES = frozenset(("product_id", "item_id", "productId", "itemId", "decision_id", "message_id"))
_LEARNT_TEXTS = ("name", "image_url", "url")


LEARNT = frozenset((*_LEARNT_TEXTS, "category", "brand", "price"))
"""The attributes that shoppers' events can teach."""


def teaches(event: Event, line: Line, unsettled: Collection[str]) -> bool:
    """Whether a shopper's event says anything of the line's item that the catalogue has not settled itself.
    ``unsettled`` are those of :data:`LEARNT` that it has not.

    Decided before anything is built, because nearly every event answers no.
    """
    if (
        (line.category and "category" in unsettled)
        or (line.brand and "brand" in unsettled)
        or (line.price is not None and "price" in unsettled)
    ):
        return True
    properties = event.properties
    if not properties:
        return False
    in_list = "products" in properties
    for name in _LEARNT_TEXTS:  # noqa: SIM110 - any() over a generator costs three times as much
        if name in unsettled and (in_list or name in properties):
            return True
    return False


def catalogue_attributes(event: Event) -> dict[str, Any]:
    """All that a catalogue update says; ``None`` withdraws an attribute."""
    stated = {**event.traits, **event.properties}
    return {name: value for name, value in stated.items() if name not in _NOT_ATTRIBUTES}


Products = Mapping[str, dict[str, Any]]
"""The products in an event by id, the first of each."""


def products_of(event: Event) -> Products:
    """Every product in an event under each of its ids; empty when the event has no list of them.

    Built once per event: an order of a thousand lines would otherwise be searched a thousand times.
    """
    products = event.properties.get("products")
    found: dict[str, dict[str, Any]] = {}
    if isinstance(products, list):
        for product in products:
            if isinstance(product, dict):
                for field in _ID_FIELDS:
                    item_id = product.get(field)
                    if isinstance(item_id, str):
                        found.setdefault(item_id, product)
    return found


def line_attributes(event: Event, line: Line, products: Products) -> dict[str, Any]:
    """The name, price, category, brand, picture and address that a shopper's event mentions, where it does.
    ``products`` are those of :func:`products_of`.

    The price is taken only from events about a single product: a line of an order may carry a discount.
    """
    attributes: dict[str, Any] = {}
    if line.category:
        attributes["category"] = line.category
    if line.brand:
        attributes["brand"] = line.brand
    alone = len(event.lines) == 1
    if line.price is not None and alone:
        attributes["price"] = line.price
    properties = event.properties
    if properties:
        stated = properties if alone and "products" not in properties else products.get(line.item_id, {})
        for name in _LEARNT_TEXTS:
            text = stated.get(name)
            if isinstance(text, str) and text:
                attributes[name] = text
    return attributes
