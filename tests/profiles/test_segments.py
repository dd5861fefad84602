"""Segments: conditions on features."""

from __future__ import annotations

import pytest

from opportune.errors import InvalidDefinition
from opportune.profiles.segments import Segments, parse_segments

FEATURES = {
    "orders_all": 3,
    "order_recency": 100.0,
    "spend_30d": None,
    "intents": {"price": 0.8},
    "last_intents": ["price", "fit"],
    "plan": "gold",
}


@pytest.mark.parametrize(
    ("when", "member"),
    [
        ({"orders_all": {"gte": 3}}, True),
        ({"orders_all": {"gte": 3}, "order_recency": {"lt": 100}}, False),
        ({"spend_30d": {"gt": 0}}, False),
        ({"spend_30d": {"exists": False}}, True),
        ({"intents.price": {"gt": 0.5, "lt": 0.9}}, True),
        ({"intents.fit": {"gt": 0}}, False),
        ({"plan.x": "gold"}, False),
        ({"last_intents": {"contains": "fit"}}, True),
        ({"last_intents": {"contains": "delivery"}}, False),
        ({"plan": "gold"}, True),
        ({"unknown": {"ne": "gold"}}, True),
    ],
)
def test_membership(when, member):
    segments = parse_segments(f"segments: [{{name: s, when: {when!r}}}]".replace("False", "false"))
    assert segments.of(FEATURES) == (["s"] if member else [])


def test_segments_come_in_the_order_of_the_file():
    text = """
segments:
  - {name: b, when: {plan: gold}}
  - {name: nobody, when: {plan: tin}}
  - {name: a, when: {orders_all: 3}}
"""
    segments = parse_segments(text)
    assert segments.names == ["b", "nobody", "a"]
    assert segments.of(FEATURES) == ["b", "a"]
    assert Segments().of(FEATURES) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{name: A, when: {x: 1}}",
            r"not a name, or there twice, saw 'A', at segments.yaml \$.segments\[0\]",
        ),
        ("{name: a}", r"Object missing required field `when`"),
        ("{name: a, when: {}}", r"a segment needs a condition, at segments.yaml \$.segments\[0\].when"),
        ("{name: a, when: {orders: {over: 3}}}", r"not an operator, saw 'over'.*use one of contains"),
        (
            "{name: a, when: {order.x: 1}}",
            r"no such feature, saw 'order.x', at segments.yaml .*name a value that features.yaml gives",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, message):
    with pytest.raises(InvalidDefinition, match=message):
        parse_segments(f"segments: [{text}]", known=frozenset({"orders", "x"}))
