"""The e-commerce vocabulary in all its spellings, and what numbers mean in it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.events.ecommerce import (
    ALIASES,
    CANONICAL,
    INTERACTION,
    SPECIFIED,
    canonical_name,
    interaction,
    line_of,
    lines_of,
    number,
    query_of,
    title,
    value_of,
)
from opportune.events.event import Line


class TestNames:
    def test_the_specification_has_28_events(self) -> None:
        assert len(SPECIFIED) == len(CANONICAL) == 28

    @pytest.mark.parametrize(("spelled", "canonical"), sorted(SPECIFIED.items()))
    def test_every_specified_event_in_every_case(self, spelled: str, canonical: str) -> None:
        words = spelled.split()
        camel = words[0].lower() + "".join(word.capitalize() for word in words[1:])
        spellings = [spelled, canonical, spelled.upper(), spelled.replace(" ", "-"), f" {spelled}", camel]
        assert {canonical_name(s) for s in spellings} == {canonical}
        assert title(canonical) == spelled

    def test_aliases_lead_to_canonical_names_and_hide_none(self) -> None:
        assert set(ALIASES.values()) <= CANONICAL
        assert not set(ALIASES) & CANONICAL
        for alias, canonical in ALIASES.items():
            assert canonical_name(alias) == canonical_name(alias.replace("_", " ").title()) == canonical

    @pytest.mark.parametrize(
        ("name", "canonical"),
        [
            ("product_added_to_cart", "product_added"),
            ("search_performed", "products_searched"),
            ("filter_applied", "product_list_filtered"),
            ("Completed Order", "order_completed"),
            ("add_to_cart", "product_added"),
            ("view_item", "product_viewed"),
        ],
    )
    def test_spellings_of_the_contract(self, name: str, canonical: str) -> None:
        assert canonical_name(name) == canonical

    @pytest.mark.parametrize(
        "name", ["Song Played", "ProductViewedTwice", "", "é", "x" * 5_000, "product viewed!?x"]
    )
    def test_other_names_stay_as_they_came(self, name: str) -> None:
        assert canonical_name(name) == canonical_name(f" {name} ") == name
        assert canonical_name(name) == name  # from memory

    def test_interactions(self) -> None:
        assert set(INTERACTION) <= CANONICAL
        assert [interaction(n) for n in ("product_viewed", "product_added", "order_completed")] == [
            "view",
            "cart",
            "buy",
        ]
        for silent in (
            "product_removed",
            "order_refunded",
            "product_list_viewed",
            "promotion_viewed",
            "Song",
        ):
            assert interaction(silent) is None


class TestNumbers:
    @pytest.mark.parametrize(
        ("sent", "read"),
        [
            (7, 7.0),
            (12.5, 12.5),
            ("12.50", 12.5),
            (" -3 ", -3.0),
            ("$1,299.00", 1299.0),
            ("1,299,000", 1_299_000.0),
            ("12,50", 12.5),
            ("€ 9", 9.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            (1e15, 1e15),
        ],
    )
    def test_read_as_shops_write_them(self, sent: Any, read: float) -> None:
        assert number(sent) == read

    @pytest.mark.parametrize(
        "sent",
        [None, True, "", "free", "NaN", "Infinity", "1_000", "1,2,3", "0x10", "1e999", [1], {}, 1e16, 10**40,
         float("nan"), float("inf"), "9" * 41, "٣"],
    )  # fmt: skip
    def test_anything_else_is_no_number(self, sent: Any) -> None:
        assert number(sent) is None

    @given(st.floats() | st.integers() | st.text(alphabet="0123456789.,+-eE$ ", max_size=12))
    def test_always_finite(self, sent: Any) -> None:
        read = number(sent)
        assert read is None or (math.isfinite(read) and abs(read) <= 1e15)


class TestLines:
    def test_a_single_product_with_everything(self) -> None:
        properties = {
            "product_id": "p1",
            "sku": "s1",
            "category": "shoes",
            "brand": "Acme",
            "price": "19.99",
            "quantity": "2",
            "position": 3,
        }
        assert lines_of("product_viewed", properties) == (Line("p1", 2.0, 19.99, "shoes", "Acme", 3),)

    @pytest.mark.parametrize("field", ["product_id", "item_id", "sku", "productId"])
    def test_the_id_by_any_name(self, field: str) -> None:
        assert lines_of("product_viewed", {field: 22423}) == (Line("22423"),)
        assert lines_of("Song Played", {field: "p1"}) == (Line("p1"),)

    def test_a_list_of_products_in_the_order_sent(self) -> None:
        products = [
            {"product_id": "a"},
            {"id": "b", "quantity": 3},
            {"name": "no id"},
            "junk",
            None,
            {"sku": "c"},
        ]
        expected = (Line("a"), Line("b", 3.0), Line("c"))
        assert lines_of("product_list_viewed", {"products": products, "product_id": "x"}) == expected

    def test_google_analytics_items(self) -> None:
        item = {"item_id": "a", "item_category": "shoes", "item_brand": "Acme", "price": 5}
        assert lines_of("product_viewed", {"items": [item]}) == (Line("a", 1.0, 5.0, "shoes", "Acme"),)

    def test_an_event_of_its_own_id_is_no_item(self) -> None:
        assert lines_of("Song Played", {"id": "song-1"}) == ()
        assert lines_of("Song Played", {}) == ()
        assert lines_of("Song Played", {"product_id": None, "products": "x"}) == ()

    @pytest.mark.parametrize(
        ("quantity", "read"),
        [(0, 0.0), (-2, 2.0), ("many", 1.0), (None, 1.0), (True, 1.0), (1e99, 1.0), (0.5, 0.5)],
    )
    def test_quantities_outside_orders(self, quantity: Any, read: float) -> None:
        line = line_of({"product_id": "a", "quantity": quantity})
        assert line == Line("a", read)

    def test_a_line_that_gives_back_is_no_purchase(self) -> None:
        products = [
            {"product_id": "a", "quantity": -1},
            {"product_id": "b", "quantity": 0},
            {"product_id": "c"},
        ]
        assert lines_of("order_completed", {"products": products}) == (Line("c"),)
        assert lines_of("order_refunded", {"products": products[:1]}) == (Line("a", 1.0),)

    @pytest.mark.parametrize("price", [-1, "free", float("nan"), True, [], "-5"])
    def test_a_price_that_cannot_be_is_none(self, price: Any) -> None:
        assert line_of({"product_id": "a", "price": price}) == Line("a")

    @pytest.mark.parametrize("wrong", ["3", -1, 1_000_000, 1.5, True])
    def test_a_position_that_cannot_be_is_none(self, wrong: Any) -> None:
        assert line_of({"product_id": "a", "position": wrong}) == Line("a")

    def test_an_id_that_cannot_be_is_no_item(self) -> None:
        for wrong in ("", None, {}, [1], True, 1.5, "x" * 257):
            assert line_of({"product_id": wrong}) is None


class TestMoney:
    def test_total_before_revenue_before_value(self) -> None:
        amounts = {"total": "30.00", "revenue": 25, "value": 20}
        assert value_of("order_completed", amounts, ()) == 30.0
        assert value_of("order_completed", {**amounts, "total": "?"}, ()) == 25.0
        assert value_of("product_viewed", {"value": 20}, ()) == 20.0
        assert value_of("Song Played", {"total": 240, "value": 1}, ()) == 1.0
        assert value_of("product_viewed", {"price": 9}, ()) is None

    def test_an_order_that_says_nothing_is_worth_its_lines(self) -> None:
        lines = (Line("a", 2.0, 5.0), Line("b", 1.0, 0.5), Line("c"))
        assert value_of("order_completed", {}, lines) == 2 * 5.0 + 0.5
        assert value_of("order_completed", {}, (Line("c"),)) is None
        assert value_of("cart_viewed", {}, lines) is None

    @pytest.mark.parametrize("sent", [10, -10, "10.00"])
    def test_a_refund_is_negative_whatever_its_sign(self, sent: Any) -> None:
        assert value_of("order_refunded", {"total": sent}, ()) == -10.0
        assert value_of("order_refunded", {}, (Line("a", 2.0, 5.0),)) == -10.0

    def test_a_cancellation_has_no_money_of_its_own(self) -> None:
        assert value_of("order_cancelled", {"total": 10}, ()) is None

    def test_a_filters_value_is_no_money(self) -> None:
        assert value_of("product_list_filtered", {"attribute": "size", "value": "10"}, ()) is None


def test_search_text_by_any_name() -> None:
    assert [query_of("products_searched", {f: " boots "}) for f in ("query", "search_term", "q")] == [
        "boots"
    ] * 3
    assert query_of("products_searched", {"query": 7, "text": "boots"}) == "boots"
    assert query_of("product_viewed", {"query": "boots"}) == ""
    assert len(query_of("products_searched", {"query": "x" * 1_000_000})) == 500
