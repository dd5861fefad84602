"""Rows to tracking events: a table of clicks, carts, searches, or events in the Segment shape as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opportune.events.ecommerce import SPECIFIED
from opportune.events.segment import KINDS
from opportune.importing.columns import PERSON, PRODUCT, WHEN, Columns, Fields, Target, as_id
from opportune.importing.made import Made, Times, Unusable, message_id
from opportune.importing.rows import BadRow, Row

FIELDS: Fields = {
    "event": ("event", "eventname", "eventtype", "type", "action", "behavior", "interaction"),
    "message_id": ("messageid", "eventid"),
    **PERSON,
    **WHEN,
    **PRODUCT,
    "order_id": ("orderid", "transactionid", "invoiceno", "invoice", "ordernumber"),
    "query": ("query", "searchquery", "searchterm", "searchterms", "keywords", "search"),
    "position": ("position", "rank"),
    "currency": ("currency", "currencycode"),
    "total": ("total", "ordertotal", "totalamount", "amount"),
    "revenue": ("revenue",),
    "decision_id": ("decisionid",),
}

SHORT_NAMES = {
    "view": "Product Viewed",
    "views": "Product Viewed",
    "detail": "Product Viewed",
    "pageview": "Product Viewed",
    "click": "Product Clicked",
    "cart": "Product Added",
    "addtocart": "Product Added",
    "basket": "Product Added",
    "removefromcart": "Product Removed",
    "buy": "Order Completed",
    "purchase": "Order Completed",
    "transaction": "Order Completed",
    "order": "Order Completed",
    "search": "Products Searched",
    "wishlist": "Product Added to Wishlist",
}
"""What event columns of public logs and shop exports say, in plain form -> the name of the specification."""

_TOP_LEVEL = ("message_id", "user_id", "anonymous_id", "email", "phone", "event", "timestamp")


class EventRows:
    """``default_event`` names the event of rows without an event column. A row that names no person gets its
    session as anonymous id, since a session is one person."""

    fields = FIELDS

    def __init__(
        self,
        file_name: str,
        maps: Mapping[str, Target] | None = None,
        *,
        times: Times | None = None,
        default_event: str = "",
    ) -> None:
        self.file_name = file_name
        self.columns = Columns(FIELDS, maps or {})
        self.times = times or Times()
        self.default_event = default_event

    def made(self, rows: Iterable[Row | BadRow]) -> Iterator[Made | Unusable]:
        """One raw event per row."""
        for row in rows:
            if isinstance(row, BadRow):
                yield Unusable(row.line, row.end, "unreadable", row.reason, "$", row.text)
            elif row.values.get("type") in KINDS and ("event" in row.values or row.values["type"] != "track"):
                yield Made(row.line, row.line, row.end, self._as_it_is(row.values), row.values)
            else:
                yield self._from_columns(row)

    def _as_it_is(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("messageId"):
            return values
        return {**values, "messageId": message_id(self.file_name, values)}

    def _from_columns(self, row: Row) -> Made | Unusable:
        fields, nested = self.columns.apply(row.values)
        name = fields.get("event") or self.default_event
        if not name:
            return Unusable(
                row.line,
                row.end,
                "missing_field",
                "the row says no event: map a column to event, or pass --event 'Product Viewed'",
                "$.event",
                row.values,
            )
        try:
            timestamp = self.times.read(fields.get("timestamp"))
        except ValueError as error:
            return Unusable(row.line, row.end, "bad_time", str(error), "$.timestamp", row.values)
        raw = _event(str(name), fields, nested)
        raw["messageId"] = as_id(fields.get("message_id")) or message_id(self.file_name, row.values)
        if timestamp is not None:
            raw["timestamp"] = timestamp
        return Made(row.line, row.line, row.end, raw, row.values)


def _event(name: str, fields: dict[str, Any], nested: dict[str, dict[str, Any]]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    who(fields, nested, raw)
    others = {field: value for field, value in fields.items() if field not in _TOP_LEVEL}
    for field in ("product_id", "order_id", "session_id"):
        if field in others:
            others[field] = as_id(others[field])
    kind = name.strip().lower()
    if kind in KINDS and kind != "track":
        raw["type"] = kind
        holder = "traits" if kind in ("identify", "group") else "properties"
        merged = {**others, **nested.get("properties", {}), **nested.get("traits", {})}
        if merged:
            raw[holder] = merged
    else:
        raw["type"] = "track"
        raw["event"] = full_name(name)
        raw["properties"] = {**others, **nested.get("properties", {})}
    return raw


def full_name(name: str) -> str:
    """A short event name as the specification spells it; any other as it is."""
    if name in SPECIFIED:
        return name
    simple = "".join(c for c in name.lower() if c.isalnum())
    return SHORT_NAMES.get(simple, name)


def who(fields: Mapping[str, Any], nested: Mapping[str, dict[str, Any]], raw: dict[str, Any]) -> None:
    """Write who did it into a raw event: ids at the top, e-mail and phone as traits in the context."""
    user, anonymous = as_id(fields.get("user_id")), as_id(fields.get("anonymous_id"))
    context = dict(nested.get("context", {}))
    traits = {name: str(fields[name]) for name in ("email", "phone") if name in fields}
    traits.update(nested.get("traits", {}))
    if traits:
        context["traits"] = traits
    if user:
        raw["userId"] = user
    if anonymous:
        raw["anonymousId"] = anonymous
    if not user and not anonymous and "email" not in fields and "session_id" in fields:
        raw["anonymousId"] = as_id(fields["session_id"])
    if context:
        raw["context"] = context
