"""Item attributes as flat columns, indexed by item number, so that policy is a few array operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.catalog.text import slug

UNKNOWN = -1
MAX_NAMES = 100_000
"""Names per attribute; later new ones are unknown, because a public write key must not fill the memory."""
MAX_NAME_CHARS = 200


def label(value: Any) -> str:
    """The text that a rule compares an attribute value with; empty for what cannot be compared.

    >>> [label(v) for v in ("  Red ", True, 12, 12.5, ["a", "b"], None, {})]
    ['Red', 'true', '12', '12.5', 'a / b', '', '']
    """
    if isinstance(value, str):
        return value.strip()[:MAX_NAME_CHARS]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return " / ".join(part for part in map(label, value) if part)[:MAX_NAME_CHARS]
    return ""


class Coded:
    """One attribute as codes: ``codes[number]`` (int32) indexes ``names``, -1 where the item has none.

    Codes are given in order of first appearance and never change; at most ``MAX_NAMES`` are given. Growing
    doubles the array: O(1) amortised.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.names: list[str] = []
        self.codes: npt.NDArray[np.int32] = np.full(max(capacity, 1), UNKNOWN, dtype=np.int32)
        self._index: dict[str, int] = {}
        self._slugs: dict[str, int] = {}

    def reserve(self, n: int) -> None:
        """Make room for item numbers below ``n``."""
        if n > len(self.codes):
            grown = np.full(max(n, 2 * len(self.codes)), UNKNOWN, dtype=np.int32)
            grown[: len(self.codes)] = self.codes
            self.codes = grown

    def intern(self, name: str) -> int:
        """The code of a name, new or known; -1 for the empty name."""
        code = self._index.get(name)
        if code is None:
            if not name or len(self.names) >= MAX_NAMES:
                return UNKNOWN
            code = len(self.names)
            self.names.append(name)
            self._index[name] = code
            self._slugs.setdefault(slug(name), code)
        return code

    def code(self, value: Any) -> int:
        """The code of an attribute's value as it is kept, new or known."""
        known = self._index.get(value) if type(value) is str else None
        return self.intern(label(value)) if known is None else known

    def put(self, number: int, name: str) -> None:
        self.codes[number] = self.intern(name)

    def find(self, name: str) -> int:
        """The code of a name as written, else of its URL form; -1 when no item has had it."""
        code = self._index.get(name)
        return self._slugs.get(slug(name), UNKNOWN) if code is None else code
