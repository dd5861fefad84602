"""Rows to orders: a table with one row per order line, or one object per order with its products inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opportune.events.ecommerce import number
from opportune.importing.columns import PERSON, PRODUCT, WHEN, Columns, Fields, Target, as_id
from opportune.importing.events import who
from opportune.importing.made import Made, Times, Unusable, message_id
from opportune.importing.rows import BadRow, Row

FIELDS: Fields = {
    "order_id": (
        "orderid",
        "invoiceno",
        "invoice",
        "ordernumber",
        "transactionid",
        "invoiceid",
        "receipt",
        "order",
    ),
    **PERSON,
    **WHEN,
    **PRODUCT,
    "currency": ("currency", "currencycode"),
    "total": ("total", "ordertotal", "totalamount"),
    "tax": ("tax", "vat"),
    "shipping": ("shipping", "shippingcost", "freight"),
    "discount": ("discount", "discountamount"),
    "coupon": ("coupon", "couponcode", "voucher"),
    "products": ("products", "items", "lines"),
}

_OF_LINE = ("product_id", "quantity", "price", "category", "brand", "name")
_OF_ORDER = ("currency", "total", "tax", "shipping", "discount", "coupon", "session_id")


class OrderRows:
    """Rows of one order stand together in the file; one event is made of them, with the person and the time
    of the first. An order whose every quantity is negative is a refund.

    ``seen`` remembers the order ids, so that an order whose rows are scattered is refused and not counted
    twice; 100 bytes an order.
    """

    fields = FIELDS

    def __init__(
        self, file_name: str, maps: Mapping[str, Target] | None = None, *, times: Times | None = None
    ) -> None:
        self.file_name = file_name
        self.columns = Columns(FIELDS, maps or {})
        self.times = times or Times()
        self._seen: set[str] = set()

    def made(self, rows: Iterable[Row | BadRow]) -> Iterator[Made | Unusable]:
        order_id = ""
        gathered: list[tuple[Row, dict[str, Any], dict[str, dict[str, Any]]]] = []
        # A row that cannot be used waits until its order is complete: places only ever move forward.
        waiting: list[Unusable] = []
        for row in rows:
            if isinstance(row, BadRow):
                waiting.append(Unusable(row.line, row.end, "unreadable", row.reason, "$", row.text))
            else:
                fields, nested = self.columns.apply(row.values)
                found = as_id(fields.get("order_id"))
                if not found:
                    reason = "the row has no order id: map a column to order_id"
                    waiting.append(
                        Unusable(row.line, row.end, "missing_field", reason, "$.order_id", row.values)
                    )
                elif found == order_id:
                    gathered.append((row, fields, nested))
                    continue
                else:
                    yield from self._finished(order_id, gathered, waiting)
                    order_id, gathered, waiting = found, [(row, fields, nested)], []
                    continue
            if not gathered:
                yield from waiting
                waiting = []
        yield from self._finished(order_id, gathered, waiting)

    def _finished(
        self,
        order_id: str,
        gathered: list[tuple[Row, dict[str, Any], dict[str, dict[str, Any]]]],
        waiting: list[Unusable],
    ) -> Iterator[Made | Unusable]:
        if gathered:
            end = gathered[-1][0].end
            yield from (bad for bad in waiting if bad.end < end)
            yield self._order(order_id, gathered)
            yield from (bad for bad in waiting if bad.end > end)
        else:
            yield from waiting

    def _order(
        self, order_id: str, gathered: list[tuple[Row, dict[str, Any], dict[str, dict[str, Any]]]]
    ) -> Made | Unusable:
        first, fields, nested = gathered[0]
        last = gathered[-1][0]
        values: Any = first.values if len(gathered) == 1 else [row.values for row, _, _ in gathered]
        if order_id in self._seen:
            reason = "the rows of this order do not stand together: sort the file by order"
            return Unusable(last.line, last.end, "scattered", reason, "$.order_id", values, len(gathered))
        self._seen.add(order_id)
        try:
            timestamp = self.times.read(fields.get("timestamp"))
        except ValueError as error:
            return Unusable(last.line, last.end, "bad_time", str(error), "$.timestamp", values, len(gathered))
        products = _products(gathered)
        quantities = [number(product.get("quantity", 1)) for product in products]
        is_refund = bool(products) and all(quantity is not None and quantity < 0 for quantity in quantities)
        if is_refund:
            products = [{**product, "quantity": -number_of(product)} for product in products]
        properties: dict[str, Any] = {"order_id": order_id}
        properties.update((field, fields[field]) for field in _OF_ORDER if field in fields)
        properties.update(nested.get("properties", {}))
        properties["products"] = products
        raw: dict[str, Any] = {"type": "track", "event": "Order Refunded" if is_refund else "Order Completed"}
        who(fields, nested, raw)
        if "userId" not in raw and "anonymousId" not in raw and "email" not in fields:
            # A guest's order still says what is bought together.
            raw["anonymousId"] = f"order-{order_id}"
        if timestamp is not None:
            raw["timestamp"] = timestamp
        raw["properties"] = properties
        raw["messageId"] = message_id(self.file_name, "order", values)
        return Made(first.line, last.line, last.end, raw, values, len(gathered))


def _products(gathered: list[tuple[Row, dict[str, Any], dict[str, dict[str, Any]]]]) -> list[dict[str, Any]]:
    products: list[dict[str, Any]] = []
    for _, fields, _ in gathered:
        inside = fields.get("products")
        if isinstance(inside, list):
            products.extend(product for product in inside if isinstance(product, dict))
        elif "product_id" in fields:
            product = {name: fields[name] for name in _OF_LINE if name in fields}
            product["product_id"] = as_id(product["product_id"])
            products.append(product)
    return products


def number_of(product: Mapping[str, Any]) -> float:
    """The quantity of a product as a number; 1 when it says none."""
    return number(product.get("quantity", 1)) or 0.0
