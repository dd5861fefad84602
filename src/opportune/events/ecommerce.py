"""The e-commerce vocabulary: one canonical name per event, however it is spelled, and typed lines and money.

Source: Segment e-commerce specification v2 (28 events); its v1 names, Google Analytics 4 names and common
snake-case spellings are accepted as the same events.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from opportune.events.event import Line

SPECIFIED: dict[str, str] = {
    "Products Searched": "products_searched",
    "Product List Viewed": "product_list_viewed",
    "Product List Filtered": "product_list_filtered",
    "Promotion Viewed": "promotion_viewed",
    "Promotion Clicked": "promotion_clicked",
    "Product Clicked": "product_clicked",
    "Product Viewed": "product_viewed",
    "Product Added": "product_added",
    "Product Removed": "product_removed",
    "Cart Viewed": "cart_viewed",
    "Checkout Started": "checkout_started",
    "Checkout Step Viewed": "checkout_step_viewed",
    "Checkout Step Completed": "checkout_step_completed",
    "Payment Info Entered": "payment_info_entered",
    "Order Completed": "order_completed",
    "Order Updated": "order_updated",
    "Order Refunded": "order_refunded",
    "Order Cancelled": "order_cancelled",
    "Coupon Entered": "coupon_entered",
    "Coupon Applied": "coupon_applied",
    "Coupon Denied": "coupon_denied",
    "Coupon Removed": "coupon_removed",
    "Product Added to Wishlist": "product_added_to_wishlist",
    "Product Removed from Wishlist": "product_removed_from_wishlist",
    "Wishlist Product Added to Cart": "wishlist_product_added_to_cart",
    "Product Shared": "product_shared",
    "Cart Shared": "cart_shared",
    "Product Reviewed": "product_reviewed",
}
"""The 28 events as the specification spells them -> the canonical name."""

CANONICAL = frozenset(SPECIFIED.values())

ALIASES: dict[str, str] = {
    "search_performed": "products_searched",
    "search": "products_searched",
    "searched_products": "products_searched",
    "product_searched": "products_searched",
    "view_search_results": "products_searched",
    "filter_applied": "product_list_filtered",
    "list_filtered": "product_list_filtered",
    "list_viewed": "product_list_viewed",
    "category_viewed": "product_list_viewed",
    "viewed_product_category": "product_list_viewed",
    "view_item_list": "product_list_viewed",
    "view_promotion": "promotion_viewed",
    "viewed_promotion": "promotion_viewed",
    "select_promotion": "promotion_clicked",
    "clicked_promotion": "promotion_clicked",
    "select_item": "product_clicked",
    "clicked_product": "product_clicked",
    "viewed_product": "product_viewed",
    "view_item": "product_viewed",
    "product_view": "product_viewed",
    "item_viewed": "product_viewed",
    "product_added_to_cart": "product_added",
    "added_product": "product_added",
    "added_to_cart": "product_added",
    "add_to_cart": "product_added",
    "item_added_to_cart": "product_added",
    "product_removed_from_cart": "product_removed",
    "removed_product": "product_removed",
    "removed_from_cart": "product_removed",
    "remove_from_cart": "product_removed",
    "viewed_cart": "cart_viewed",
    "view_cart": "cart_viewed",
    "started_checkout": "checkout_started",
    "begin_checkout": "checkout_started",
    "viewed_checkout_step": "checkout_step_viewed",
    "completed_checkout_step": "checkout_step_completed",
    "add_payment_info": "payment_info_entered",
    "completed_order": "order_completed",
    "order_placed": "order_completed",
    "purchase": "order_completed",
    "updated_order": "order_updated",
    "refunded_order": "order_refunded",
    "refund": "order_refunded",
    "cancelled_order": "order_cancelled",
    "order_canceled": "order_cancelled",
    "added_product_to_wishlist": "product_added_to_wishlist",
    "add_to_wishlist": "product_added_to_wishlist",
    "removed_product_from_wishlist": "product_removed_from_wishlist",
    "shared_product": "product_shared",
    "shared_cart": "cart_shared",
    "reviewed_product": "product_reviewed",
}
"""Other spellings, in snake case -> the canonical name."""

Interaction = Literal["view", "cart", "buy"]

INTERACTION: dict[str, Interaction] = {
    "product_viewed": "view",
    "product_clicked": "view",
    "product_added": "cart",
    "product_added_to_wishlist": "cart",
    "wishlist_product_added_to_cart": "cart",
    "order_completed": "buy",
}
"""Canonical name -> how its lines touch items, for learning. Impressions (lists, promotions), removals and
money coming back are not interest, and map to nothing."""

ORDERS = frozenset({"order_completed", "order_updated"})
_GIVES_BACK = frozenset({"order_refunded", "order_cancelled"})
_TITLE: dict[str, str] = {canonical: title for title, canonical in SPECIFIED.items()}

_WORD_BREAK = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])")
UNSPECIFIED = ("product_dismissed", "item_dismissed", "recommendation_dismissed")
"""What the specification does not have and means something here: somebody did not want to see it."""
KNOWN: dict[str, str] = {**SPECIFIED, **{name: name for name in CANONICAL}, **ALIASES}
"""Spelling -> name: the vocabulary, and whatever other spellings :func:`canonical_name` met first."""
_NAMES_REMEMBERED = 4_096
_NAME_CHARS_REMEMBERED = 100


def canonical_name(name: str) -> str:
    """The canonical name of an e-commerce event in any spelling; any other name as it came, trimmed.
    60 ns when seen before (the 4,096 first spellings are remembered), 3 us else.

    >>> [canonical_name(n) for n in ("Product Viewed", "productViewed", "ADD_TO_CART", "Song Played")]
    ['product_viewed', 'product_viewed', 'product_added', 'Song Played']
    """
    known = KNOWN.get(name)
    if known is not None:
        return known
    if len(name) > _NAME_CHARS_REMEMBERED:
        return name.strip()
    snake = "_".join(part for part in _WORD_BREAK.split(name) if part).lower()
    trimmed = name.strip()
    found = snake if snake in CANONICAL or snake in UNSPECIFIED else ALIASES.get(snake, trimmed)
    if trimmed and len(KNOWN) < _NAMES_REMEMBERED:
        KNOWN[name] = found
    return found


def title(canonical: str) -> str:
    """The name as the specification spells it, for people to read; any other name as it is."""
    return _TITLE.get(canonical, canonical)


def interaction(name: str) -> Interaction | None:
    """How an event of this canonical name touches the items of its lines."""
    return INTERACTION.get(name)


_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?\Z", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d{1,2}\Z", re.ASCII)
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_LARGEST = 1e15


def number(value: Any) -> float | None:
    """A finite number of at most 1e15 either way, or None. Text is read as shops write it: ``"12.50"``,
    ``"$1,299.00"``, ``"12,50"``; anything else, booleans and NaN included, is no number.

    >>> number("€ 1,299.00"), number("12,50"), number("NaN"), number(True)
    (1299.0, 12.5, None, None)
    """
    kind = type(value)
    if kind is float or kind is int:
        return float(value) if -_LARGEST <= value <= _LARGEST else None
    if kind is not str or len(value) > 40:
        return None
    text = value.strip().strip("$€£¥ \u00a0")
    if _GROUPED.match(text):
        text = text.replace(",", "")
    elif _DECIMAL_COMMA.match(text):
        text = text.replace(",", ".")
    elif not _PLAIN.match(text):
        return None
    found = float(text)
    return found if math.isfinite(found) and abs(found) <= _LARGEST else None


def _text(value: Any) -> str:
    """A name or an id as text; numbers as digits; anything else is empty."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float and value.is_integer():
        return str(int(value))
    return ""


_ITEM_ID_CHARS = 256


def line_of(product: dict[str, Any]) -> Line | None:
    """One product as a line; None without an item id (``product_id``, ``item_id``, ``sku``, ``id``).

    A negative quantity is read as its size, an unreadable one as 1; a negative or unreadable price as none.
    """
    item_id = _item_id(product) or product.get("id")
    return _line(item_id, product) if item_id else None


def _item_id(holder: dict[str, Any]) -> Any:
    if "product_id" in holder and (found := holder["product_id"]):
        return found
    get = holder.get
    return get("item_id") or get("sku") or get("productId")


def _line(item_id: Any, product: dict[str, Any]) -> Line | None:
    if type(item_id) is not str:
        item_id = _text(item_id)
    if not 0 < len(item_id) <= _ITEM_ID_CHARS:
        return None
    # `in` before `[]` is half the cost of `get` for what is mostly absent.
    quantity = 1.0
    if "quantity" in product and (read := number(product["quantity"])) is not None:
        quantity = abs(read)
    price = None
    if "price" in product and (price := number(product["price"])) is not None and price < 0:
        price = None
    position = product.get("position")
    if position is not None and (type(position) is not int or not 0 <= position < 1_000_000):
        position = None
    category: Any = ""
    if "category" in product:
        category = product["category"]
    elif "item_category" in product:
        category = product["item_category"]
    brand: Any = ""
    if "brand" in product:
        brand = product["brand"]
    elif "item_brand" in product:
        brand = product["item_brand"]
    return Line(
        item_id,
        quantity,
        price,
        category if type(category) is str else "",
        brand if type(brand) is str else "",
        position,
    )


def lines_of(name: str, properties: dict[str, Any]) -> tuple[Line, ...]:
    """The items that an event is about, in the order sent: ``products`` (or ``items``), else the single
    product named in the properties themselves.

    In an order a line of zero or negative quantity is a return and not a purchase, and is left out (it stays
    in ``properties``). Products without an id are left out. 0.5 us a line.
    """
    products = None
    if "products" in properties:
        products = properties["products"]
    elif "items" in properties:
        products = properties["items"]
    if type(products) is not list:
        item_id = _item_id(properties)
        line = _line(item_id, properties) if item_id else None
        return () if line is None else (line,)
    is_order = name in ORDERS
    lines = []
    for product in products:
        if type(product) is not dict or (is_order and _gives_back(product)):
            continue
        line = line_of(product)
        if line is not None:
            lines.append(line)
    return tuple(lines)


def _gives_back(product: dict[str, Any]) -> bool:
    quantity = product.get("quantity")
    if type(quantity) is not int:
        quantity = number(quantity)
    return quantity is not None and quantity <= 0


def value_of(name: str, properties: dict[str, Any], lines: tuple[Line, ...]) -> float | None:
    """The money that an event is about: ``total``, else ``revenue``, else ``value`` (events outside the
    vocabulary have no ``total``: theirs may count anything). An order that says none is worth its lines.

    A refund is negative, whatever sign was sent. A cancellation has no value of its own, since shops send
    the refund beside it. Amounts are in the currency of ``properties.currency``.
    """
    found = number(properties["total"]) if "total" in properties and name in CANONICAL else None
    if found is None and "revenue" in properties:
        found = number(properties["revenue"])
    if found is None and "value" in properties and name != "product_list_filtered":
        found = number(properties["value"])
    if found is None and lines and (name in ORDERS or name in _GIVES_BACK):
        priced = [line.price * line.quantity for line in lines if line.price is not None]
        found = sum(priced) if priced else None
    if found is None or name not in _GIVES_BACK:
        return found
    return -abs(found) if name == "order_refunded" else None


def query_of(name: str, properties: dict[str, Any]) -> str:
    """The search text of a search; trimmed, at most 500 characters."""
    if name != "products_searched":
        return ""
    for field in ("query", "search_term", "search", "q", "text"):
        text = properties.get(field)
        if type(text) is str and text:
            return text.strip()[:500]
    return ""
