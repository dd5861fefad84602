"""Whom an experiment is for: conditions on what is known of the person and on where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opportune.profiles.lookup import value_at
from opportune.profiles.paths import value_test

Attributes = Mapping[str, Any]
"""A person's features by name (one with several values is looked into with a dot), those of their groups
(``account.<feature>``, ``household.<feature>``), ``traits.<name>``, ``segment.<name>`` (true where they are
in it), and the request's ``context.<name>``."""
Audience = Callable[[Attributes], bool]


def audience(clauses: Mapping[str, Any], where: str) -> Audience | None:
    """All of ``{name: value}`` or ``{name: {op: value}}`` must hold; None when everybody is meant.

    Operators: ``eq ne in not_in gt gte lt lte exists contains``, as in features. Raises
    :class:`InvalidDefinition` naming ``where``.
    """
    tests: list[tuple[str, Callable[[Any], bool]]] = []
    for name, expected in clauses.items():
        operators = expected if isinstance(expected, Mapping) else {"eq": expected}
        tests += [(name, value_test(op, operand, f"{where}.{name}")) for op, operand in operators.items()]
    if not tests:
        return None

    def holds(attributes: Attributes) -> bool:
        return all(test(attributes.get(name, value_at(attributes, name))) for name, test in tests)

    return holds
