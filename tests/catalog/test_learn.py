"""What a shopper's event teaches the catalogue about the items in it."""

from __future__ import annotations

from typing import Any

from opportune.catalog.learn import line_attributes, products_of
from opportune.events.event import Event, Line


class Counted(dict[str, Any]):
    """A product that counts how often it is asked."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.asked += 1
        return super().get(key, default)


def order(n: int) -> Event:
    products = [Counted(product_id=f"p{i}", name=f"Product {i}") for i in range(n)]
    return Event(
        "track",
        "order_completed",
        "m",
        "s",
        1,
        1,
        ("user_id:u",),
        lines=tuple(Line(f"p{i}") for i in range(n)),
        properties={"products": products},
    )


def test_each_line_learns_from_its_own_product() -> None:
    event = order(3)
    products = products_of(event)
    assert [line_attributes(event, line, products) for line in event.lines] == [
        {"name": "Product 0"},
        {"name": "Product 1"},
        {"name": "Product 2"},
    ]


def test_the_first_product_of_an_id_stands_and_odd_ones_are_passed_over() -> None:
    event = order(0)
    event.properties["products"] = [
        7,
        {"sku": "a", "name": "One"},
        {"id": "a", "name": "Two"},
        {"product_id": 5},
    ]
    assert products_of(event) == {"a": {"sku": "a", "name": "One"}}
    event.properties["products"] = "none"
    assert products_of(event) == {}


def test_the_work_grows_with_the_lines_and_not_with_their_square() -> None:
    asked = []
    for n in (10, 1_000):
        Counted.asked = 0
        event = order(n)
        products = products_of(event)
        for line in event.lines:
            line_attributes(event, line, products)
        asked.append(Counted.asked / n)
    assert asked[0] == asked[1]
