"""What columns mean, by their names and by their values."""

from __future__ import annotations

import pytest

from opportune.errors import InvalidDefinition
from opportune.identity.matching.columns import Column, columns_of, guess


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("given_name", "name"), ("Surname", "name"), ("firstName", "name"), ("full_name", "full_name"),
        ("date_of_birth", "date"), ("dob", "date"), ("birth_place", "text"), ("e-mail", "email"),
        ("mobile", "phone"), ("soc_sec_id", "code"), ("postcode", "code"), ("ZIP", "code"),
        ("street_number", "number"), ("address_1", "address"), ("suburb", "text"), ("city", "text"),
        ("state", "category"), ("gender", "category"), ("rec_id", "ignore"), ("unique_id", "ignore"),
    ],
)  # fmt: skip
def test_a_name_that_is_known_decides(name, role):
    assert guess(name, ["x1", "x2"]) == role


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (["a@b.c", "d@e.f"], "email"),
        (["1980-01-02", "1990-12-31"], "date"),
        (["02 07946 0018", "0161 496 0000"], "phone"),
        (["48213", "10022"], "code"),
        (["7", "12"], "number"),
        (["plumber", "baker"], "text"),
        (["same", "same"], "ignore"),
        ([], "ignore"),
        (["a", "b"] * 100, "category"),
    ],
)
def test_an_unknown_name_leaves_it_to_the_values(values, role):
    assert guess("column_7", values) == role


def test_what_is_mapped_is_believed_and_the_rest_is_guessed():
    header, rows = ["nr", "first", "surname", "notes"], [["17", "ann", "lee", "x"], ["18", "bob", "ray", "y"]]
    assert columns_of(header, rows, mapping={"first": "name", "notes": "ignore"}, without=["nr"]) == [
        Column("first", "name", "name"),
        Column("surname", "name", "name"),
    ]


def test_unknown_roles_and_columns_are_refused_with_the_remedy():
    with pytest.raises(InvalidDefinition, match=r"no such role, saw 'nom', at \$\.columns\.a: one of name, "):
        columns_of(["a"], [["x"]], mapping={"a": "nom"})
    with pytest.raises(InvalidDefinition, match=r"the table has no such column, saw 'b', .*: it has a"):
        columns_of(["a"], [["x"]], mapping={"b": "name"})
