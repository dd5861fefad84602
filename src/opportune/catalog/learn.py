"""What an event says about items: everything when the catalogue speaks, a few facts when a shopper does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opportune.catalog.record import FROM_CATALOGUE, FROM_EVENTS
from opportune.events.event import Event, Line

_ID_FIELDS = ("product_id", "item_id", "productId", "itemId", "id", "sku")
_NOT_ATTRIBUTES = frozenset(("product_id", "item_id", "productId", "itemId", "decision_id", "message_id"))
_LEARNT_TEXTS = ("name", "image_url", "url")


def said(event: Event) -> Iterator[tuple[str, dict[str, Any], int]]:
    """(item id, attributes, source rank) for every item that the event speaks of."""
    if event.kind == "item":
        if event.lines:
            yield event.lines[0].item_id, catalogue_attributes(event), FROM_CATALOGUE
        return
    for line in event.lines:
        yield line.item_id, line_attributes(event, line), FROM_EVENTS


def catalogue_attributes(event: Event) -> dict[str, Any]:
    """All that a catalogue update says; ``None`` withdraws an attribute."""
    stated = {**event.traits, **event.properties}
    return {name: value for name, value in stated.items() if name not in _NOT_ATTRIBUTES}


def line_attributes(event: Event, line: Line) -> dict[str, Any]:
    """The name, price, category, brand, picture and address that a shopper's event mentions, where it does.

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
        stated = properties if alone and "products" not in properties else _product(properties, line.item_id)
        for name in _LEARNT_TEXTS:
            text = stated.get(name)
            if isinstance(text, str) and text:
                attributes[name] = text
    return attributes


def _product(properties: dict[str, Any], item_id: str) -> dict[str, Any]:
    products = properties.get("products")
    if isinstance(products, list):
        for product in products:
            if isinstance(product, dict) and any(product.get(field) == item_id for field in _ID_FIELDS):
                return product
    return {}
