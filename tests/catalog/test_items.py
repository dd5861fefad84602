"""Items, their numbers, columns, and what people see of them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from opportune.catalog.items import MAX_ID_CHARS, Catalog
from opportune.errors import Corrupt
from opportune.events.event import Event, Line

NOW = 1_760_000_000_000


def viewed(item_id: str, time: int = NOW, **properties: Any) -> Event:
    line = Line(
        item_id,
        price=properties.get("price"),
        category=properties.get("category", ""),
        brand=properties.get("brand", ""),
    )
    properties["product_id"] = item_id
    return Event("track", "product_viewed", "m1", "web", time, time, lines=(line,), properties=properties)


def listed(item_id: str, time: int = NOW, **properties: Any) -> Event:
    return Event("item", "item", "m2", "shop", time, time, lines=(Line(item_id),), properties=properties)


def shop() -> Catalog:
    catalog = Catalog()
    catalog.upsert("A", {"name": "Red mug", "price": 4.5, "category": "Mugs", "brand": "Acme"}, NOW)
    catalog.upsert("B", {"name": "Blue mug", "price": "6", "category": "Mugs", "in_stock": False}, NOW)
    catalog.upsert("C", {"name": "Lamp", "category": "Home & Light", "_cost": 3.1}, NOW)
    return catalog


def test_numbers_are_dense_in_order_of_first_mention() -> None:
    catalog = shop()
    assert [catalog.number(i) for i in ("A", "B", "C", "D")] == [0, 1, 2, -1]
    assert catalog.intern("D") == 3
    assert catalog.intern("A") == 0
    assert len(catalog) == 4
    assert catalog.numbers(["C", "unknown", "A"]).tolist() == [2, 0]


def test_items_are_made_ready_a_few_at_a_time_and_what_changes_later_is_told_anew() -> None:
    catalog = shop()
    assert [catalog.prepare(2), catalog.prepare(2), catalog.prepare(2)] == [True, False, False]
    catalog.upsert("A", {"name": "Green mug", "price": 9}, NOW + 1)
    assert json.loads(bytes(catalog.public(0)))["price"] == 9
    assert [catalog.name(number) for number in range(3)] == ["Green mug", "Blue mug", "Lamp"]
    catalog.upsert("D", {"title": " Chair "}, NOW)
    assert not catalog.prepare(2)
    assert catalog.name(3) == "Chair"


def test_columns_follow_the_attributes() -> None:
    catalog = shop()
    assert catalog.available.tolist() == [True, False, True]
    assert catalog.price[:2].tolist() == [4.5, 6.0]
    assert math.isnan(catalog.price[2])
    assert [catalog.category_names[c] for c in catalog.category] == ["Mugs", "Mugs", "Home & Light"]
    assert catalog.brand.tolist() == [0, -1, -1]
    assert catalog.brand_names == ["Acme"]
    assert catalog.created.tolist() == [NOW] * 3
    assert catalog.listed.all()


def test_columns_grow_past_their_first_size() -> None:
    catalog = Catalog()
    for i in range(1_000):
        catalog.upsert(f"i{i}", {"price": i, "category": f"c{i % 7}", "available": i % 2 == 0}, NOW)
    assert catalog.price.tolist() == [float(i) for i in range(1_000)]
    assert catalog.available.tolist() == [i % 2 == 0 for i in range(1_000)]
    assert catalog.category.tolist() == [i % 7 for i in range(1_000)]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, True),
        ({"available": True}, True),
        ({"available": "false"}, False),
        ({"in_stock": 0}, False),
        ({"availability": "https://schema.org/OutOfStock"}, False),
        ({"availability": "in stock"}, True),
        ({"stock": 0}, False),
        ({"stock": 3}, True),
        ({"available": True, "deleted": True}, False),
        ({"available": None, "stock": 0}, False),
    ],
)
def test_availability_is_read_as_shops_write_it(attributes: dict[str, Any], expected: bool) -> None:
    catalog = Catalog()
    catalog.upsert("A", attributes, NOW)
    assert catalog.available.tolist() == [expected]


@pytest.mark.parametrize("price", ["free", -1, True, None, [1], 1e300, "nan"])
def test_a_price_that_is_none_is_unknown(price: Any) -> None:
    catalog = Catalog()
    catalog.upsert("A", {"price": price}, NOW)
    assert math.isnan(catalog.price[0])


def test_created_at_is_read_from_text_and_numbers() -> None:
    catalog = Catalog()
    catalog.upsert("A", {"created_at": "2026-01-02T00:00:00+00:00"}, NOW)
    catalog.upsert("B", {"created_at": 1_700_000_000_000}, NOW)
    catalog.upsert("C", {"created_at": "yesterday"}, NOW)
    assert catalog.created.tolist() == [1_767_312_000_000, 1_700_000_000_000, NOW]


def test_categories_are_found_by_name_and_as_in_a_url() -> None:
    catalog = shop()
    assert catalog.category_number("Home & Light") == catalog.category_number("home-light") == 1
    assert catalog.category_number("garden") == -1


def test_any_attribute_becomes_a_column_that_stays_current() -> None:
    catalog = shop()
    catalog.upsert("A", {"color": "red"}, NOW)
    column = catalog.column("color")
    assert column.codes[:3].tolist() == [0, -1, -1]
    catalog.upsert("B", {"color": "blue"}, NOW)
    catalog.upsert("A", {"color": None}, NOW + 1)
    for i in range(200):
        catalog.upsert(f"more{i}", {"color": "blue"}, NOW)
    assert catalog.column("color") is column
    assert column.codes[:3].tolist() == [-1, 1, -1]
    assert column.codes[202] == 1


def test_people_see_no_private_attributes_and_no_long_texts() -> None:
    catalog = shop()
    catalog.upsert("C", {"description": "x" * 1_000, "tags": ["new"]}, NOW)
    seen = json.loads(bytes(catalog.public(2)))
    assert seen == {"item_id": "C", "name": "Lamp", "category": "Home & Light", "tags": ["new"]}
    assert catalog.item(2)["_cost"] == 3.1
    assert len(catalog.item(2)["description"]) == 1_000


def test_what_people_see_follows_a_change() -> None:
    catalog = shop()
    assert json.loads(bytes(catalog.public(0)))["price"] == 4.5
    catalog.upsert("A", {"price": 5}, NOW + 1)
    assert json.loads(bytes(catalog.public(0)))["price"] == 5


def test_an_item_is_called_by_its_name_or_else_its_id() -> None:
    catalog = shop()
    number = catalog.intern("only-an-id")
    assert (catalog.name(0), catalog.name(number)) == ("Red mug", "only-an-id")
    assert catalog.text_of(0) == "Red mug Mugs Acme"


def test_events_teach_what_the_catalogue_has_not_said() -> None:
    catalog = shop()
    assert catalog.apply(viewed("A", NOW + 9, name="wrong", price=99.0, category="Mugs"), 7) == []
    assert catalog.name(0) == "Red mug"
    assert catalog.apply(viewed("N", name="New thing", price=2.5, category="Toys", brand="Zed"), 8) == [3]
    assert catalog.name(3) == "New thing"
    assert catalog.price[3] == 2.5
    assert not catalog.listed[3]
    assert catalog.offset_of("N") == 8
    assert catalog.offset_of("A") == 0


def test_the_catalogue_takes_over_what_events_have_taught() -> None:
    catalog = Catalog()
    catalog.apply(viewed("N", NOW + 5, name="new thing"), 1)
    catalog.apply(listed("N", NOW, name="New Thing", price=3), 2)
    assert catalog.name(0) == "New Thing"
    assert catalog.listed.all()


def test_a_line_of_an_order_teaches_its_name_but_not_its_price() -> None:
    catalog = Catalog()
    order = Event(
        "track",
        "order_completed",
        "m",
        "web",
        NOW,
        NOW,
        lines=(Line("A", price=1.0, category="Mugs"), Line("B", price=2.0)),
        properties={"products": [{"product_id": "A", "name": "Mug"}, {"sku": "B", "name": 5}, "junk"]},
    )
    assert catalog.apply(order, 1) == [0]
    assert catalog.item(0) == {"item_id": "A", "category": "Mugs", "name": "Mug"}
    assert len(catalog) == 2


def test_a_line_is_described_with_what_it_does_not_say() -> None:
    catalog = shop()
    line = Line("A", 2.0, 4.0, "", "", 3)
    assert catalog.described(line) == Line("A", 2.0, 4.0, "Mugs", "Acme", 3)
    assert catalog.described(Line("A", category="Gifts")) == Line("A", category="Gifts", brand="Acme")
    unknown = Line("?")
    assert catalog.described(unknown) is unknown


def test_names_are_bounded_in_number_and_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opportune.catalog.columns.MAX_NAMES", 3)
    catalog = Catalog()
    for k in range(5):
        catalog.apply(viewed("A", NOW + k, category=f"c{k}"), k + 1)
        catalog.upsert(f"B{k}", {"category": f"c{k}", "brand": "x" * 500}, NOW)
    assert catalog.category_names == ["c0", "c1", "c2"]
    assert catalog.category.tolist() == [-1, 0, 1, 2, -1, -1]
    assert [len(name) for name in catalog.brand_names] == [200]


def test_unusable_ids_get_no_number() -> None:
    catalog = Catalog(limit=2)
    assert catalog.intern("") == -1
    assert catalog.intern("x" * (MAX_ID_CHARS + 1)) == -1
    assert [catalog.intern(i) for i in ("a", "b", "c")] == [0, 1, -1]
    assert not catalog.upsert("c", {"name": "full"}, NOW)


def test_a_catalogue_comes_back_from_its_checkpoint() -> None:
    catalog = shop()
    catalog.intern("bare")
    saved = dict(catalog.pack(n) for n in catalog.take_dirty())
    assert sorted(saved) == ["item:A", "item:B", "item:C"]
    assert catalog.take_dirty() == []
    catalog.upsert("A", {"price": 7}, NOW + 1)
    saved.update(catalog.pack(n) for n in catalog.take_dirty())

    again = Catalog()
    again.import_numbering(catalog.export_numbering())
    again.load(saved.items())
    assert again.ids == catalog.ids
    for column in ("available", "listed", "category", "brand", "created"):
        assert np.array_equal(getattr(again, column), getattr(catalog, column)), column
    assert np.array_equal(again.price, catalog.price, equal_nan=True)
    assert [again.item(n) for n in range(4)] == [catalog.item(n) for n in range(4)]
    assert again.export_numbering() == catalog.export_numbering()
    assert again.apply(viewed("A", NOW + 9, price=99.0), 9) == []


def test_unchanged_records_are_not_written_again() -> None:
    catalog = shop()
    catalog.take_dirty()
    catalog.upsert("A", {"price": 4.5}, NOW)
    assert catalog.take_dirty() == []


def test_numbers_are_imported_into_an_empty_catalogue_only() -> None:
    catalog = shop()
    with pytest.raises(ValueError, match="only be imported into an empty catalogue"):
        catalog.import_numbering(catalog.export_numbering())
    with pytest.raises(Corrupt, match=r"the item numbering cannot be read .*: rebuild from the journal"):
        Catalog().import_numbering(b"nonsense")


def test_the_size_of_the_numbering_follows_items_categories_and_brands() -> None:
    catalog = shop()
    assert catalog.numbering_size == 3 + 2 + 1


def test_a_feeds_title_is_the_name_that_events_need_not_teach() -> None:
    catalog = Catalog()
    catalog.upsert("A", {"title": "Red mug", "category": "Mugs", "brand": "", "price": 4}, NOW)
    said = {"name": "RED MUG!", "product_id": "A"}
    event = Event(
        "track",
        "product_viewed",
        "m",
        "s",
        NOW + 5,
        NOW,
        lines=(Line("A", 1.0, 4.0, "Mugs"),),
        properties=said,
    )
    assert catalog.apply(event, 7) == []
    assert catalog.name(catalog.number("A")) == "Red mug"


def test_saying_the_same_again_is_no_news() -> None:
    catalog = Catalog()
    news = catalog.follow()
    for time in (NOW, NOW + 5):
        catalog.upsert("A", {"name": "Red mug"}, time)
    assert news == {0}
    news.clear()
    revision = catalog.revision
    assert not catalog.upsert("A", {"name": "Red mug"}, NOW + 9)
    assert (news, catalog.revision) == (set(), revision)
    assert not catalog.upsert("A", {"name": "Blue mug"}, NOW + 8), "the later word stands"
    assert catalog.upsert("A", {"name": "Blue mug"}, NOW + 10)
