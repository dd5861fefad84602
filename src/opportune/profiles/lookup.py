"""One value among a person's features, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def value_at(features: Mapping[str, Any], path: str) -> Any:
    """The value at ``feature``, ``feature.key`` or ``feature.key.part``; keys may contain dots. None where
    there is none.

    >>> value_at({"taste": {"No. 5": {"mean": 0.4}}}, "taste.No. 5.mean")
    0.4
    """
    name, _, rest = path.partition(".")
    value = features.get(name)
    if not rest:
        return value
    if not isinstance(value, Mapping):
        return None
    if rest in value:
        return value[rest]
    key, _, part = rest.rpartition(".")
    inner = value.get(key)
    return inner.get(part) if isinstance(inner, Mapping) else None
