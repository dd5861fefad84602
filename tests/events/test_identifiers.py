"""Values that name nobody, values as they are compared, and the order of strength."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.events.identifiers import (
    BLOCKED,
    MAX_CHARS,
    NOT_A_PERSON,
    ORDER,
    as_text,
    custom_kind,
    from_mapping,
    kind_of,
    make,
    parse,
    rank,
    strongest_first,
    tidy,
)


@pytest.mark.parametrize("kind", ["user_id", "anonymous_id", "device_id", "crm"])
@pytest.mark.parametrize(
    "value",
    ["", "  ", "null", "NULL", " Null ", "-1", "0", "000", "anonymous", "Anonymous", "undefined", "unknown",
     "None", "nil", "[object Object]", "(not set)", "00000000-0000-0000-0000-000000000000", "0.0",
     "00:00:00:00"],
)  # fmt: skip
def test_values_that_broken_integrations_send_for_everybody_name_nobody(kind: str, value: str) -> None:
    assert make(kind, value) == ""


@pytest.mark.parametrize("value", ["u1", "10", "-2", "01", "nullable", "a0", "0a", "anonymous-7"])
def test_ordinary_values_are_let_through(value: str) -> None:
    assert make("user_id", value) == f"user_id:{value}"


def test_every_blocked_value_is_written_as_it_is_compared() -> None:
    assert {value for value in BLOCKED if value != value.lower().strip()} == set()
    assert {value for value in BLOCKED if tidy("user_id", value.upper())} == set()


def test_values_are_tidied_by_type() -> None:
    assert tidy("email", " Ada@Example.ORG ") == "ada@example.org"
    assert tidy("user_id", " Ada ") == "Ada"
    assert tidy("advertising_id", "AB-CD") == "ab-cd"
    assert tidy("phone", "+44 (0)20 7946-0000") == "+4402079460000"
    assert tidy("phone", "020 7946 0000") == "02079460000"
    assert tidy("phone", "n/a") == ""


@pytest.mark.parametrize(
    "wrong", ["ada", "@", "ada@", "@example.org", "a b@example.org", "null@example.org", ""]
)
def test_what_is_no_address_is_no_email(wrong: str) -> None:
    assert make("email", wrong) == ""


def test_length_is_bounded() -> None:
    assert make("user_id", "x" * MAX_CHARS) != ""
    assert make("user_id", "x" * (MAX_CHARS + 1)) == ""


def test_only_text_and_numbers_are_identifiers() -> None:
    assert [make("user_id", v) for v in (7, 7.0, 7.5, 2**70)] == [
        "user_id:7",
        "user_id:7",
        "user_id:7.5",
        f"user_id:{2**70}",
    ]
    assert [make("user_id", v) for v in (True, None, [1], {"a": 1}, 0, -1, float("nan"))] == [""] * 7
    assert as_text(1e300) == "1e+300"


def test_an_identifier_read_back_keeps_colons_in_its_value() -> None:
    assert parse("user_id:a:b") == "user_id:a:b"
    assert kind_of("user_id:a:b") == "user_id"
    assert [parse(text) for text in ("u1", ":u1", "user_id:", "user_id:null", "email:nobody")] == [""] * 5


def test_custom_types_are_named_like_ours() -> None:
    assert [custom_kind(kind) for kind in ("CRM", " Shop:Id ", "a  b", "", "x" * 99)] == [
        "crm",
        "shop_id",
        "a_b",
        "",
        "x" * 64,
    ]


def test_strongest_first_whatever_the_order_given() -> None:
    expected = (
        "user_id:b", "user_id:a", "email:e@x.example", "phone:12345", "crm:1", "loyalty:2", "anonymous_id:n",
        "device_id:d", "push_token:t", "advertising_id:i", "ga_client_id:g", "account:c", "household:h",
    )  # fmt: skip
    shuffled: list[Any] = list(expected[2:])
    random.Random(7).shuffle(shuffled)
    assert strongest_first(["", *shuffled, "user_id:b", "user_id:a", "user_id:b"]) == expected
    assert strongest_first(["", ""]) == ()
    assert [rank(kind) for kind in ORDER] == list(range(len(ORDER)))
    assert rank("crm") == rank("external")
    assert max(rank(kind) for kind in ORDER) == rank("household")
    assert {"account", "household"} == NOT_A_PERSON


@given(st.lists(st.sampled_from(["user_id:1", "email:a@b.example", "crm:1", "zed:1", "anonymous_id:1", ""])))
def test_order_is_stable_under_repetition_and_reordering(identifiers: list[str]) -> None:
    once = strongest_first(identifiers)
    assert strongest_first(once) == once
    assert strongest_first(reversed(identifiers)) == once
    assert set(once) == set(identifiers) - {""}


def test_a_requests_identifiers() -> None:
    sent = {"anonymous_id": "a1", "user_id": "u1", "Loyalty Card": "9", "email": None, "device_id": "unknown"}
    assert from_mapping(sent) == ("user_id:u1", "loyalty_card:9", "anonymous_id:a1")
