"""What is kept of one item does not depend on the order in which it was said."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from opportune.catalog.record import (
    FROM_CATALOGUE,
    FROM_EVENTS,
    MAX_ATTRIBUTES,
    MAX_TEXT_CHARS,
    ItemRecord,
    decode_item,
    encode_item,
)
from opportune.errors import Corrupt

Update = tuple[dict[str, Any], int, int]

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, "red", "blue"]),
    st.just(["a", 1]),
)
UPDATES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["name", "price", "category", "stock"]), VALUES, max_size=3),
        st.integers(1, 4),
        st.sampled_from([FROM_EVENTS, FROM_CATALOGUE]),
    ),
    max_size=8,
)


def folded(updates: list[Update]) -> ItemRecord:
    record = ItemRecord(attributes={})
    for attributes, time, rank in updates:
        record.fold(attributes, time, rank)
    return record


@settings(max_examples=300, deadline=None, derandomize=True)
@given(UPDATES, st.randoms(use_true_random=False))
def test_any_order_of_updates_gives_the_same_bytes(updates: list[Update], random: Any) -> None:
    shuffled = list(updates)
    random.shuffle(shuffled)
    assert encode_item(folded(updates)) == encode_item(folded(shuffled))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(UPDATES)
def test_saying_it_twice_changes_nothing(updates: list[Update]) -> None:
    record = folded(updates)
    before = encode_item(record)
    changes = [record.fold(attributes, time, rank) for attributes, time, rank in updates]
    assert encode_item(record) == before
    assert not any(changes)


def test_the_later_update_wins_whenever_it_arrives() -> None:
    late_first = folded([({"price": 2.0}, 20, FROM_CATALOGUE), ({"price": 1.0}, 10, FROM_CATALOGUE)])
    assert late_first.value("price") == 2.0


def test_the_catalogue_wins_over_events_however_new_they_are() -> None:
    record = folded([({"name": "Mug"}, 10, FROM_CATALOGUE), ({"name": "mugg"}, 99, FROM_EVENTS)])
    assert record.value("name") == "Mug"
    assert record.first == 10


def test_null_withdraws_an_attribute() -> None:
    record = folded([({"brand": "Acme"}, 10, FROM_CATALOGUE), ({"brand": None}, 20, FROM_CATALOGUE)])
    assert record.value("brand") is None


def test_the_first_attributes_by_name_stay_when_there_are_too_many() -> None:
    names = [f"a{i:03d}" for i in range(MAX_ATTRIBUTES + 50)]
    forward = folded([({name: 1}, 1, FROM_CATALOGUE) for name in names])
    backward = folded([({name: 1}, 1, FROM_CATALOGUE) for name in reversed(names)])
    assert sorted(forward.attributes) == names[:MAX_ATTRIBUTES]
    assert encode_item(forward) == encode_item(backward)


def test_values_are_cut_to_size() -> None:
    record = folded([({"text": "x" * 5_000, "blob": ["y" * 5_000], "big": 2**70}, 1, FROM_CATALOGUE)])
    assert len(record.value("text")) == MAX_TEXT_CHARS
    assert set(record.attributes) == {"text"}


def test_deeply_nested_values_are_left_out() -> None:
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]
    assert not folded([({"deep": nested}, 1, FROM_CATALOGUE)]).attributes


def test_true_and_one_are_different_values_of_one_order() -> None:
    one_way = folded([({"x": True}, 1, FROM_CATALOGUE), ({"x": 1}, 1, FROM_CATALOGUE)])
    other_way = folded([({"x": 1}, 1, FROM_CATALOGUE), ({"x": True}, 1, FROM_CATALOGUE)])
    assert encode_item(one_way) == encode_item(other_way)


@pytest.mark.parametrize(("one", "other"), [([1], [1.0]), (0.0, -0.0), ({"a": True}, {"a": 1})])
def test_equal_values_that_are_kept_differently_have_one_order(one: Any, other: Any) -> None:
    one_way = folded([({"x": one}, 1, FROM_CATALOGUE), ({"x": other}, 1, FROM_CATALOGUE)])
    other_way = folded([({"x": other}, 1, FROM_CATALOGUE), ({"x": one}, 1, FROM_CATALOGUE)])
    assert encode_item(one_way) == encode_item(other_way)


def test_bytes_round_trip() -> None:
    record = folded([({"name": "Tasse à café", "tags": ["a", {"b": 1}]}, 5, FROM_CATALOGUE)])
    record.offset = 17
    back = decode_item(encode_item(record))
    assert back == record
    assert encode_item(back) == encode_item(record)


def test_damaged_bytes_are_named() -> None:
    with pytest.raises(Corrupt, match=r"an item record cannot be read .*: rebuild from the journal"):
        decode_item(b"\x93garbage")


def test_the_offset_moves_only_with_a_change() -> None:
    record = ItemRecord(attributes={})
    assert record.fold({"name": "Mug"}, 5, FROM_CATALOGUE, offset=3)
    assert not record.fold({"name": "Mug"}, 5, FROM_CATALOGUE, offset=9)
    assert record.offset == 3
