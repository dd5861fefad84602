"""People as columns: every distinct value once, each record a row of codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from opportune.identity.matching.columns import Column
from opportune.identity.matching.forms import FORM

Codes = npt.NDArray[np.int32]

NO_VALUE = -1


class Records:
    """Records of people, numbered from 0 in the order of arrival.

    ``values[c]`` are the distinct compared forms of column ``c``; :meth:`codes` says which one each record
    has, :data:`NO_VALUE` for none. Appending is O(columns).
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.values: list[list[str]] = [[] for _ in columns]
        self._known: list[dict[str, int]] = [{} for _ in columns]
        self._codes = np.full((64, len(self.columns)), NO_VALUE, np.int32)
        self._count = 0
        self._new: list[int] = []

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Iterable[Mapping[str, str]]) -> Records:
        records = cls(columns)
        for row in rows:
            records.append(row)
        return records

    def __len__(self) -> int:
        return self._count

    def append(self, row: Mapping[str, str]) -> int:
        """Add one record; columns that it does not have are without value. Returns its number."""
        at = self._count
        if at == len(self._codes):
            grown = np.full((2 * at, len(self.columns)), NO_VALUE, np.int32)
            grown[:at] = self._codes
            self._codes = grown
        self._new = []
        for c, column in enumerate(self.columns):
            self._codes[at, c] = self._code(c, FORM[column.role](row.get(column.name) or ""))
        self._count += 1
        return at

    def pop(self) -> None:
        """Take the newest record back, values and all: what :meth:`append` was last called for."""
        self._count -= 1
        self._codes[self._count] = NO_VALUE
        for column in self._new:
            del self._known[column][self.values[column].pop()]
        self._new = []

    def codes(self, column: int) -> Codes:
        """(n,) the code of each record's value."""
        return self._codes[: self._count, column]

    def row(self, record: int) -> list[str]:
        """The compared forms of one record, empty where it has none."""
        return [
            self.values[c][code] if code >= 0 else "" for c, code in enumerate(self._codes[record].tolist())
        ]

    def _code(self, column: int, form: str) -> int:
        if not form:
            return NO_VALUE
        known = self._known[column]
        code = known.get(form)
        if code is None:
            code = known[form] = len(self.values[column])
            self.values[column].append(form)
            self._new.append(column)
        return code
