"""What the columns of a table of people mean, so that each is compared in the way that fits it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from opportune.errors import InvalidDefinition
from opportune.identity.matching.forms import parse_date

Role = Literal["name", "full_name", "date", "email", "phone", "code", "number", "address", "text", "category"]
ROLES: tuple[str, ...] = get_args(Role)
IGNORE = "ignore"

SAMPLE = 2_000
"""Values looked at to guess a role."""


class Column(msgspec.Struct, frozen=True):
    """One column that says something about who somebody is. ``family`` names columns whose values get
    swapped in practice: first name and surname, the lines of an address."""

    name: str
    role: Role
    family: str = ""


_NAMED: tuple[tuple[str, str], ...] = (
    (r"^(id|uuid|index|row|row_?id|rec_?id|record_?id|unique_?id|source(_?dataset)?|dataset)$", IGNORE),
    (r"^(cluster|cluster_?id|entity|entity_?id|group_?id|true_?id)$", IGNORE),
    (r"e_?-?mail", "email"),
    (r"phone|mobile|(^|_)(tel|cell|fax)(_|$)", "phone"),
    (r"birth_?place|place_of_birth", "text"),
    (r"dob|birth|(^|_)date(_|$)", "date"),
    (r"full_?name|first_and_(sur|last)_?name|^name$|person_?name|display_?name", "full_name"),
    (
        r"(given|first|fore|christian|middle|sur|last|family|maiden)_?names?(_|$|\d)|^(fname|lname|sname)$",
        "name",
    ),
    (r"^(surname|forename)", "name"),
    (r"post_?code|postal|zip", "code"),
    (r"ssn|soc_?sec|social|national_?id|passport|tax_?id|licen[cs]e|nhs|medicare|vat|iban|account", "code"),
    (r"(street|house|unit|flat|building|apartment|apt)_?(no|num|number|nr)$", "number"),
    (r"addr|street|road", "address"),
    (r"city|town|suburb|locality|village|county|district", "text"),
    (r"^(state|region|province|country|gender|sex|title|salutation|marital.*|language)$", "category"),
)
"""Patterns on a column's name in lower case with underscores; the first that fits decides."""


def columns_of(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    mapping: Mapping[str, str] | None = None,
    without: Iterable[str] = (),
) -> list[Column]:
    """The columns to compare, in the order of the table.

    ``mapping`` gives roles by name (``{"nr": "code", "notes": "ignore"}``) and is believed; the others are
    guessed from their names, then from their values. Raises :class:`InvalidDefinition` for an unknown role or
    column.
    """
    mapping = dict(mapping or {})
    for name, role in mapping.items():
        if role not in (*ROLES, IGNORE):
            raise InvalidDefinition(
                "no such role",
                seen=role,
                where=f"$.columns.{name}",
                remedy=f"one of {', '.join(ROLES)}, ignore",
            )
        if name not in header:
            raise InvalidDefinition(
                "the table has no such column",
                seen=name,
                where="$.columns",
                remedy=f"it has {', '.join(header)}",
            )
    left_out = {*without}
    found = []
    for index, name in enumerate(header):
        if name in left_out:
            continue
        values = [row[index] for row in rows[:SAMPLE] if row[index].strip()]
        role = mapping.get(name) or guess(name, values)
        if role != IGNORE:
            found.append((name, role))
    return [Column(name, msgspec.convert(role, Role), _family(name, role)) for name, role in found]


def guess(name: str, values: Sequence[str]) -> str:
    """The role of a column by its name, else by what its values look like; :data:`IGNORE` when they say
    nothing about a person (all alike, or a number of the row)."""
    if not values:
        return IGNORE
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower().replace("-", "_").replace(" ", "_")
    for pattern, role in _NAMED:
        if re.search(pattern, plain):
            return role
    distinct = len({*values})
    if distinct < 2:
        return IGNORE
    if _share(values, lambda v: "@" in v) > 0.8:
        return "email"
    if _share(values, lambda v: parse_date(v) is not None) > 0.8:
        return "date"
    if _share(values, lambda v: sum(c.isdigit() for c in v) * 2 >= len(v)) > 0.8:
        if distinct == len(values) > 20 and _ascends(values):
            return IGNORE
        return "phone" if _share(values, lambda v: sum(c.isdigit() for c in v) >= 9) > 0.8 else (
            "code" if _share(values, lambda v: len(v) >= 4) > 0.8 else "number"
        )  # fmt: skip
    return "category" if distinct <= min(50, len(values) // 20) else "text"


def _ascends(values: Sequence[str]) -> bool:
    """Whether the values are whole numbers that go up: they number the rows."""
    if not all(v.isdecimal() for v in values):
        return False
    numbers = [int(v) for v in values]
    return numbers == sorted(numbers)


def _share(values: Sequence[str], test: Callable[[str], bool]) -> float:
    return sum(1 for v in values if test(v)) / len(values)


def _family(name: str, role: str) -> str:
    if role == "name":
        return "name"
    return "address" if role == "address" else ""
