"""Rows to raw events: columns by their usual names, orders from their lines, items from every column."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.errors import InvalidRequest
from opportune.events.event import Line
from opportune.events.items import item_event
from opportune.events.segment import normalize
from opportune.importing.columns import Columns, Target, as_boolean, as_id, as_number, read_maps
from opportune.importing.events import EventRows
from opportune.importing.items import ItemRows
from opportune.importing.made import Made, Times, Unusable, message_id
from opportune.importing.orders import OrderRows
from opportune.importing.rows import BadRow, Row

NOW = 1_760_000_000_000


def rows(*values: dict[str, Any]) -> list[Row | BadRow]:
    return [Row(i + 2, (i + 1) * 10, row) for i, row in enumerate(values)]


def raws(made: Any) -> list[dict[str, Any]]:
    found = list(made)
    assert all(isinstance(one, Made) for one in found), found
    return [{k: v for k, v in one.raw.items() if k != "messageId"} for one in found]


def test_a_click_log_of_a_shop_becomes_product_events() -> None:
    log = rows(
        {"event_time": "2020-01-02 03:04:05Z", "event_type": "view", "product_id": 1005,
         "category_code": "phones", "brand": "acme", "price": 489.07, "user_id": 5415, "user_session": "s-1"},
        {"event_type": "cart", "product_id": "1005", "user_id": "5415.0", "price": "489.07"},
    )  # fmt: skip
    first, second = raws(EventRows("log.csv").made(log))
    assert first == {
        "type": "track",
        "event": "Product Viewed",
        "userId": "5415",
        "timestamp": "2020-01-02 03:04:05Z",
        "properties": {
            "product_id": "1005",
            "category": "phones",
            "brand": "acme",
            "price": 489.07,
            "session_id": "s-1",
        },
    }
    assert (second["event"], second["userId"], second["properties"]["price"]) == (
        "Product Added",
        "5415",
        489.07,
    )


def test_what_is_made_is_what_admission_reads() -> None:
    [made] = EventRows("log.csv").made(
        rows(
            {
                "EventType": "purchase",
                "UserId": "u1",
                "ItemId": "i1",
                "Quantity": "2",
                "Price": "1.50",
                "ts": "100",
            }
        )
    )
    assert isinstance(made, Made)
    event = normalize(made.raw, kind=None, source="s", received=NOW)
    assert (event.name, event.identifiers, event.time) == (
        "order_completed",
        ("user_id:u1",),
        NOW,
    )  # 1970: unset
    assert event.lines == (Line("i1", 2.0, 1.5),)
    assert event.value == 2 * 1.5
    assert event.message_id == made.raw["messageId"]


def test_columns_that_mean_nothing_known_are_kept_as_properties() -> None:
    [raw] = raws(EventRows("a").made(rows({"event": "Song Played", "user_id": "u1", "Tempo": "fast"})))
    assert raw["properties"] == {"Tempo": "fast"}


def test_a_session_stands_in_for_a_person_nobody_named() -> None:
    [raw] = raws(EventRows("a", default_event="Product Viewed").made(rows({"SessionId": 7, "ItemId": 9})))
    assert raw == {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "7",
        "properties": {"session_id": "7", "product_id": "9"},
    }


def test_identify_rows_are_traits() -> None:
    [raw] = raws(
        EventRows("a").made(rows({"event": "identify", "user_id": "u1", "email": "a@b.c", "plan": "gold"}))
    )
    assert raw == {
        "type": "identify",
        "userId": "u1",
        "traits": {"plan": "gold"},
        "context": {"traits": {"email": "a@b.c"}},
    }
    event = normalize(raw, kind=None, source="s", received=NOW)
    assert event.identifiers == ("user_id:u1", "email:a@b.c")


def test_events_in_the_segment_shape_pass_as_they_are() -> None:
    sent = {"type": "track", "event": "X", "userId": "u", "messageId": "m1", "properties": {"a": 1}}
    without = {"type": "page", "userId": "u"}
    first, second = EventRows("a").made(rows(sent, without))
    assert isinstance(first, Made)
    assert first.raw == sent
    assert isinstance(second, Made)
    assert second.raw == {**without, "messageId": message_id("a", without)}


def test_a_row_without_an_event_says_what_to_do() -> None:
    [made] = EventRows("a").made(rows({"user_id": "u1", "sku": "1"}))
    assert made == Unusable(
        2,
        10,
        "missing_field",
        "the row says no event: map a column to event, or pass --event 'Product Viewed'",
        "$.event",
        {"user_id": "u1", "sku": "1"},
    )


def test_a_time_in_the_pattern_of_the_file() -> None:
    times = Times("%m/%d/%Y %H:%M")
    made, bad = EventRows("a", times=times).made(
        rows(
            {"event": "x", "user_id": "u", "date": "12/1/2010 8:26"},
            {"event": "x", "user_id": "u", "date": "1.12."},
        )
    )
    assert isinstance(made, Made)
    assert made.raw["timestamp"] == "2010-12-01T08:26:00+00:00"
    assert isinstance(bad, Unusable)
    assert (bad.code, bad.where) == ("bad_time", "$.timestamp")
    assert bad.reason == "time data '1.12.' does not match format '%m/%d/%Y %H:%M'"


def test_equal_rows_have_one_id_and_others_have_others() -> None:
    row = {"event": "view", "user_id": "u", "sku": "1"}
    again = list(EventRows("f").made([Row(2, 1, row), Row(9, 2, dict(reversed(row.items())))]))
    assert again[0].raw["messageId"] == again[1].raw["messageId"]  # type: ignore[union-attr]  # both are Made
    [renamed] = EventRows("g").made([Row(2, 1, row)])
    [changed] = EventRows("f").made([Row(2, 1, {**row, "sku": "2"})])
    ids = {one.raw["messageId"] for one in (again[0], renamed, changed) if isinstance(one, Made)}
    assert len(ids) == 3


def test_a_row_keeps_an_id_of_its_own() -> None:
    [made] = EventRows("f").made(rows({"event": "x", "user_id": "u", "event_id": "e-7"}))
    assert isinstance(made, Made)
    assert made.raw["messageId"] == "e-7"


LINES = (
    {"InvoiceNo": "536365", "StockCode": "85123A", "Description": "HEART", "Quantity": 6, "UnitPrice": 2.55,
     "InvoiceDate": "2010-12-01T08:26:00", "CustomerID": 17850.0, "Country": "UK"},
    {"InvoiceNo": "536365", "StockCode": "71053", "Quantity": "1", "UnitPrice": "3.39", "CustomerID": 17850},
    {"InvoiceNo": "C536366", "StockCode": "71053", "Quantity": -1, "UnitPrice": 3.39, "CustomerID": 17850.0},
)  # fmt: skip


def test_order_lines_that_stand_together_are_one_order() -> None:
    order, refund = OrderRows("r.csv").made(rows(*LINES))
    assert isinstance(order, Made)
    assert (order.first, order.line, order.end, order.n_rows) == (2, 3, 20, 2)
    assert order.raw["properties"] == {
        "order_id": "536365",
        "Country": "UK",
        "products": [
            {"product_id": "85123A", "quantity": 6, "price": 2.55, "name": "HEART"},
            {"product_id": "71053", "quantity": 1, "price": 3.39},
        ],
    }
    event = normalize(order.raw, kind=None, source="s", received=NOW)
    assert event.name == "order_completed"
    assert event.value == pytest.approx(6 * 2.55 + 3.39)
    assert isinstance(refund, Made)
    back = normalize(refund.raw, kind=None, source="s", received=NOW)
    assert (back.name, back.value, back.lines[0].quantity) == ("order_refunded", -3.39, 1.0)


def test_an_order_whose_rows_are_scattered_is_refused_the_second_time() -> None:
    first, other, again = OrderRows("r").made(rows(LINES[0], LINES[2], LINES[1]))
    assert isinstance(first, Made)
    assert isinstance(other, Made)
    assert isinstance(again, Unusable)
    assert (again.code, again.line) == ("scattered", 4)
    assert again.reason == "the rows of this order do not stand together: sort the file by order"


def test_a_bad_row_inside_an_order_neither_splits_nor_overtakes_it() -> None:
    mixed: list[Row | BadRow] = [Row(2, 10, LINES[0]), BadRow(3, 20, "torn", "x"), Row(4, 30, LINES[1])]
    bad, order = OrderRows("r").made(mixed)
    assert isinstance(bad, Unusable)
    assert isinstance(order, Made)
    assert (bad.end, order.end, order.n_rows) == (20, 30, 2)


def test_a_guests_order_still_says_what_is_bought_together() -> None:
    [raw] = raws(OrderRows("r").made(rows({"order_id": "9", "sku": "a"})))
    assert raw["anonymousId"] == "order-9"


def test_an_order_with_its_products_inside() -> None:
    [raw] = raws(
        OrderRows("r").made(
            rows({"order_id": 9, "user_id": "u", "total": "20", "products": [{"product_id": "a"}]})
        )
    )
    assert raw["properties"] == {"order_id": "9", "total": 20, "products": [{"product_id": "a"}]}


@given(st.lists(st.sampled_from([2, 3, 5, 7]), max_size=12), st.sets(st.integers(0, 40), max_size=6))
def test_places_only_move_forward_and_no_row_is_lost(sizes: list[int], broken: set[int]) -> None:
    source: list[Row | BadRow] = []
    for order, size in enumerate(sizes):
        for _ in range(size):
            at = len(source)
            row = (
                BadRow(at, at + 1, "torn", "")
                if at in broken
                else Row(at, at + 1, {"order_id": order, "sku": at})
            )
            source.append(row)
    made = list(OrderRows("r").made(source))
    ends = [one.end for one in made]
    assert ends == sorted(set(ends))
    assert sum(one.n_rows for one in made) == len(source)


def test_every_column_of_an_item_is_an_attribute() -> None:
    [made] = ItemRows("i.csv", as_of="2026-01-02T00:00:00+00:00").made(
        rows(
            {
                "SKU": "A1",
                "Title": "Mug",
                "Price": "£2.50",
                "In stock": "yes",
                "Colour": "red",
                "Department": "Tea",
            }
        )
    )
    assert isinstance(made, Made)
    event = item_event(made.raw, source="s", received=NOW * 2)
    assert event.item_id == "A1"
    assert event.properties == {
        "name": "Mug",
        "price": 2.5,
        "in_stock": True,
        "Colour": "red",
        "category": "Tea",
    }
    assert event.time == 1_767_312_000_000  # 2026-01-02
    assert event.message_id == message_id("i.csv", "item", "2026-01-02T00:00:00+00:00", made.values)


def test_an_earlier_price_that_comes_back_is_news() -> None:
    row = {"sku": "A1", "price": "2"}
    ids = {
        made.raw["messageId"]
        for as_of in ("2026-01-01", "2026-01-02")
        for made in ItemRows("i.csv", as_of=as_of).made(rows(row))
        if isinstance(made, Made)
    }
    assert len(ids) == 2


def test_an_item_without_an_id_is_refused() -> None:
    [made] = ItemRows("i").made(rows({"name": "Mug"}))
    assert isinstance(made, Unusable)
    assert made.reason == "the row has no item id: map a column to item_id"


def test_the_surest_of_several_columns_gets_the_field() -> None:
    columns = Columns({"product_id": ("productid", "sku")}, {})
    assert columns.targets(["sku", "product_id"]) == {
        "sku": Target("properties.sku"),
        "product_id": Target("product_id"),
    }


def test_maps_win_drop_and_type() -> None:
    maps = read_maps(
        ["who=user_id", "junk=", "size=properties.size:number", "gift=properties.gift:boolean"],
        EventRows.fields,
    )
    [raw] = raws(
        EventRows("a", maps).made(
            rows({"event": "x", "who": "u1", "user_id": "other", "junk": "1", "size": "42", "gift": "no"})
        )
    )
    assert raw["userId"] == "u1"
    assert raw["properties"] == {"user_id": "other", "size": 42, "gift": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id", r"a mapping is written column=field, saw 'user_id'"),
        ("a=nonsense", r"no such field to map a column to, saw 'nonsense'"),
        ("a=user_id:date", r"a column is read as text, number or boolean, saw 'date'"),
    ],
)
def test_a_wrong_map_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_maps([text], EventRows.fields)


def test_values_as_people_write_them() -> None:
    assert [as_number(v) for v in ("12", "-3", "1,299.50", "", "x1", 2.5)] == [12, -3, 1299.5, "", "x1", 2.5]
    assert [as_boolean(v) for v in ("Yes", "0", "maybe", 1)] == [True, False, "maybe", 1]
    assert [as_id(v) for v in (17850.0, "17850.0", " a ", 7, None, [1])] == [
        "17850",
        "17850",
        "a",
        "7",
        "",
        "",
    ]
