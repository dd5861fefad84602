"""Rows to catalogue updates: every column becomes an attribute of the item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opportune.importing.columns import WHEN, Columns, Fields, Target, as_boolean, as_id, as_number
from opportune.importing.made import Made, Times, Unusable, message_id
from opportune.importing.rows import BadRow, Row

FIELDS: Fields = {
    "item_id": ("itemid", "productid", "sku", "stockcode", "articleid", "productcode", "id", "item", "code"),
    "name": ("name", "productname", "title", "itemname"),
    "description": ("description", "longdescription", "body"),
    "price": ("price", "unitprice", "saleprice"),
    "category": ("category", "categorycode", "productcategory", "producttype", "department"),
    "brand": ("brand", "brandname", "manufacturer", "vendor"),
    "in_stock": ("instock", "available", "isavailable"),
    "availability": ("availability",),
    "stock": ("stock", "stocklevel", "inventory", "quantity"),
    "image_url": ("imageurl", "imagelink", "image", "imagesrc", "picture"),
    "url": ("url", "link", "producturl"),
    "updated_at": ("updatedat", *WHEN["timestamp"]),
}


class ItemRows:
    """Since when a row holds is its ``updated_at``, else ``as_of``, which is the file's own time: importing
    the file again repeats nothing, and a later export with an earlier price is news. A description stands in
    for a missing name."""

    fields = FIELDS

    def __init__(
        self,
        file_name: str,
        maps: Mapping[str, Target] | None = None,
        *,
        times: Times | None = None,
        as_of: str = "",
    ) -> None:
        self.file_name = file_name
        self.as_of = as_of
        self.columns = Columns(FIELDS, maps or {}, rest="")
        self.times = times or Times()

    def made(self, rows: Iterable[Row | BadRow]) -> Iterator[Made | Unusable]:
        """One catalogue update per row, in the shape of the ``catalog`` dialect."""
        for row in rows:
            if isinstance(row, BadRow):
                yield Unusable(row.line, row.end, "unreadable", row.reason, "$", row.text)
            else:
                yield self._item(row)

    def _item(self, row: Row) -> Made | Unusable:
        fields, nested = self.columns.apply(row.values)
        item_id = as_id(fields.pop("item_id", None))
        if not item_id:
            reason = "the row has no item id: map a column to item_id"
            return Unusable(row.line, row.end, "missing_field", reason, "$.item_id", row.values)
        try:
            updated = self.times.read(fields.pop("updated_at", None))
        except ValueError as error:
            return Unusable(row.line, row.end, "bad_time", str(error), "$.updated_at", row.values)
        attributes: dict[str, Any] = {**nested.get("", {}), **nested.get("properties", {}), **fields}
        if "name" not in attributes and "description" in attributes:
            attributes["name"] = attributes["description"]
        if "in_stock" in attributes:
            attributes["in_stock"] = as_boolean(attributes["in_stock"])
        if "stock" in attributes:
            attributes["stock"] = as_number(attributes["stock"])
        timestamp = updated or self.as_of
        if timestamp:
            attributes["timestamp"] = timestamp
        attributes["item_id"] = item_id
        attributes["messageId"] = message_id(self.file_name, "item", timestamp, row.values)
        return Made(row.line, row.line, row.end, attributes, row.values)
