"""Where in an event a feature finds its values, and which events it is about.

Paths of a line (``item_id category brand price quantity amount position``) give one value per line of the
event; all others (``value query name source session_id leaf properties.x traits.x context.x.y``) give one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from opportune.errors import InvalidDefinition
from opportune.events.event import Event, Line

Getter = Callable[[Any], Any]
"""Takes a :class:`Line` for a path of a line, else an :class:`Event`. None or an empty text is no value."""

Condition = Callable[[Event, Line | None], bool]

_LINE_FIELDS = frozenset({"item_id", "category", "brand", "price", "quantity", "position"})
_EVENT_FIELDS = frozenset({"value", "query", "name", "source", "session_id", "leaf"})
_TEXT_FIELDS = (_LINE_FIELDS | _EVENT_FIELDS) - {"price", "quantity", "position", "value"}
_NESTED = ("properties", "traits", "context")


def is_line_path(path: str) -> bool:
    return path in _LINE_FIELDS or path == "amount"


def getter(path: str, where: str) -> Getter:
    """How to take the value at ``path``. Raises :class:`InvalidDefinition` naming ``where``."""
    if path == "amount":
        return _amount
    if path in _LINE_FIELDS or path in _EVENT_FIELDS:
        return attrgetter(path)
    root, _, rest = path.partition(".")
    if root in _NESTED and rest:
        return _nested(root, tuple(rest.split(".")))
    raise InvalidDefinition(
        "not a path in an event",
        seen=path,
        where=where,
        remedy="use item_id, category, brand, price, quantity, amount, value, query, leaf, "
        "properties.<name>, traits.<name> or context.<name>",
    )


def _amount(line: Line) -> float | None:
    return None if line.price is None else line.price * line.quantity


def as_text(get: Getter, path: str) -> Getter:
    """The same value as text, for accumulators of text; numbers keep their Python spelling."""
    if path in _TEXT_FIELDS:
        return get

    def text(source: Any) -> str | None:
        value = get(source)
        return value if value is None or type(value) is str else str(value)

    return text


def _nested(root: str, parts: tuple[str, ...]) -> Getter:
    take = attrgetter(root)

    def value(event: Event) -> Any:
        found: Any = take(event)
        for part in parts:
            if type(found) is not dict:
                return None
            found = found.get(part)
        return found if type(found) in (str, int, float, bool) else None

    return value


def condition(clauses: Mapping[str, Any], where: str) -> tuple[Condition | None, bool]:
    """All of ``{path: value}`` or ``{path: {op: value}}`` must hold; second: whether any is about lines.

    Operators: ``eq ne in not_in gt gte lt lte exists contains``. A missing value satisfies ``ne``, ``not_in``
    and ``exists: false`` only; comparing a text with a number is false.
    """
    if not clauses:
        return None, False
    tests: list[tuple[bool, Getter, Callable[[Any], bool]]] = []
    for path, expected in clauses.items():
        here = f"{where}.{path}"
        get = getter(path, here)
        operators = expected if isinstance(expected, Mapping) else {"eq": expected}
        for operator, operand in operators.items():
            tests.append((is_line_path(path), get, value_test(operator, operand, here)))

    def holds(event: Event, line: Line | None) -> bool:
        for of_line, get, test in tests:
            if of_line:
                if line is None or not test(get(line)):
                    return False
            elif not test(get(event)):
                return False
        return True

    return holds, any(of_line for of_line, _, _ in tests)


def value_test(operator: str, operand: Any, where: str) -> Callable[[Any], bool]:
    """One operator of a condition as a test of values. Raises :class:`InvalidDefinition`."""
    build = _OPERATORS.get(operator)
    if build is None:
        raise InvalidDefinition(
            "not an operator",
            seen=operator,
            where=where,
            remedy=f"use one of {', '.join(sorted(_OPERATORS))}",
        )
    wanted = _OPERANDS.get(operator)
    if wanted is not None and (
        not isinstance(operand, wanted) or (type(operand) is bool and wanted is not bool)
    ):
        raise InvalidDefinition(
            f"{operator} cannot be compared with that",
            seen=operand,
            where=f"{where}.{operator}",
            remedy={list: "write a list", bool: "write true or false", str: "write a text"}.get(
                wanted if isinstance(wanted, type) else object, "write a number"
            ),
        )
    return build(operand)


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _contains(operand: str) -> Callable[[Any], bool]:
    wanted = operand.lower()
    return lambda v: type(v) is str and wanted in v.lower()


_OPERATORS: dict[str, Callable[[Any], Callable[[Any], bool]]] = {
    "eq": lambda operand: lambda v: v == operand,
    "ne": lambda operand: lambda v: v != operand,
    "in": lambda operand: lambda v: v is not None and v in operand,
    "not_in": lambda operand: lambda v: v not in operand,
    "gt": lambda operand: lambda v: _is_number(v) and v > operand,
    "gte": lambda operand: lambda v: _is_number(v) and v >= operand,
    "lt": lambda operand: lambda v: _is_number(v) and v < operand,
    "lte": lambda operand: lambda v: _is_number(v) and v <= operand,
    "exists": lambda operand: lambda v: (v is not None) is operand,
    "contains": _contains,
}
_NUMBER = (int, float)
_OPERANDS: dict[str, type | tuple[type, ...]] = {
    "in": list,
    "not_in": list,
    "gt": _NUMBER,
    "gte": _NUMBER,
    "lt": _NUMBER,
    "lte": _NUMBER,
    "exists": bool,
    "contains": str,
}
