"""Levels of agreement."""

from __future__ import annotations

import numpy as np
import pytest

from opportune.identity.matching.columns import Column, Role
from opportune.identity.matching.comparisons import FEW, LABELS, MISSING, levels_of
from opportune.identity.matching.records import Records

pytest.importorskip("rapidfuzz", reason="needs the extra `identity`")


def level(role: Role, a: str, b: str) -> str:
    records = Records.of([Column("x", role)], [{"x": a}, {"x": b}])
    found = int(levels_of(records, np.array([0]), np.array([1]))[0, 0])
    return "missing" if found == MISSING else LABELS[role][found]


@pytest.mark.parametrize(
    ("role", "a", "b", "label"),
    [
        ("name", "Ann", "ann ", "the same"),
        ("name", "jonathan", "jonahtan", "one typing error"),
        ("name", "martha", "marhat", "alike"),
        ("name", "ann", "bob", "different"),
        ("name", "", "bob", "missing"),
        ("date", "1980-04-03", "1980-04-04", "one typing error"),
        ("date", "1980-04-03", "1980-03-04", "one typing error"),
        ("date", "1980-04-03", "1980-04-21", "two parts, two typing errors"),
        ("date", "1980-04-03", "1976-04-21", "different"),
        ("email", "ann@x.com", "anm@x.com", "two typing errors"),
        ("email", "ann@gmail.com", "ann@outlook.example", "the same before the @"),
        ("code", "7991234", "7993124", "two typing errors"),
        ("number", "12", "13", "one typing error"),
        ("text", "st  james", "stjames", "two typing errors"),
    ],
)
def test_level(role, a, b, label):
    assert level(role, a, b) == label


def test_swapped_names_are_compared_in_the_order_that_agrees():
    columns = [Column("first", "name", "name"), Column("last", "name", "name")]
    records = Records.of(
        columns,
        [
            {"first": "isla", "last": "hall"},
            {"first": "hall", "last": "isla"},
            {"first": "hall", "last": ""},
            {"first": "hall", "last": "bob"},
        ],
    )
    found = levels_of(records, np.array([0, 0, 0]), np.array([1, 2, 3]))
    top = len(LABELS["name"]) - 1
    assert found.T.tolist() == [[top, top], [MISSING, top], [0, top]]


def test_many_pairs_are_compared_as_few_are():
    rng = np.random.default_rng(1)
    columns = [Column("a", "name", "name"), Column("b", "name", "name"), Column("c", "date")]
    rows = [
        {"a": "".join(rng.choice([*"abc"], 4)), "b": "".join(rng.choice([*"abc"], 4)),
         "c": f"19{rng.integers(60, 62)}-01-{rng.integers(10, 29)}"}
        for _ in range(40)
    ]  # fmt: skip
    records = Records.of(columns, rows)
    left, right = np.triu_indices(40, 1)
    assert len(left) > FEW
    one_by_one = [levels_of(records, left[i : i + 1], right[i : i + 1])[:, 0] for i in range(len(left))]
    assert np.array_equal(levels_of(records, left, right), np.array(one_by_one).T)
