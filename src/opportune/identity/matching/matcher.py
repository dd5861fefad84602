"""Likely the same person: records one at a time, against all before, with the weights of a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from opportune.identity.matching.candidates import PER_RECORD, Candidates
from opportune.identity.matching.clusters import FLOOR, agglomerate
from opportune.identity.matching.columns import Column
from opportune.identity.matching.model import MatchModel, probability, waterfall, weights
from opportune.identity.matching.records import Records
from opportune.identity.matching.tokens import tokens_of


class Match(msgspec.Struct, frozen=True):
    """A record that may be the same person: ``weight`` in bits (0: as likely as not)."""

    record: int
    weight: float

    @property
    def probability(self) -> float:
        return float(probability(self.weight))


class Matcher:
    """Records, findable by likeness. ``find`` asks without adding, ``add`` adds and says what it resembles.

    Nothing is joined here: what to do with a match is the caller's, with its own threshold for each use.
    """

    def __init__(self, model: MatchModel, rows: Iterable[Mapping[str, str]] = ()) -> None:
        self.model = model
        self.columns: Sequence[Column] = [c.column for c in model.columns]
        self.records = Records.of(self.columns, rows)
        n = len(self.records)
        self._found = Candidates.packed([tokens_of(self.columns, self.records.row(i)) for i in range(n)])

    def find(self, row: Mapping[str, str], *, lowest: float = 0.0, most: int = PER_RECORD) -> list[Match]:
        """Records of at least ``lowest`` bits, the likeliest first. 1 ms or so with a million records."""
        record = self.records.append(row)
        try:
            return self._matches(record, tokens_of(self.columns, self.records.row(record)), lowest, most)
        finally:
            self.records.pop()

    def add(self, row: Mapping[str, str], *, lowest: float = 0.0, most: int = PER_RECORD) -> list[Match]:
        """As :meth:`find`, and the record can be found from now on, numbered ``len(records) - 1``."""
        record = self.records.append(row)
        pieces = tokens_of(self.columns, self.records.row(record))
        found = self._matches(record, pieces, lowest, most)
        self._found.add(pieces)
        return found

    def remove(self, record: int) -> None:
        """Never find this record again."""
        self._found.remove(record)

    def explain(self, left: int, right: int) -> list[dict[str, Any]]:
        """The waterfall of two records' weight."""
        return waterfall(self.model, self.records, left, right)

    def _matches(self, record: int, pieces: Sequence[int], lowest: float, most: int) -> list[Match]:
        others = self._found.find(pieces, most)
        if not len(others):
            return []
        bits = weights(self.model, self.records, np.full(len(others), record), others)
        found = [Match(int(o), float(b)) for o, b in zip(others, bits, strict=True) if b >= lowest]
        return sorted(found, key=lambda m: (-m.weight, m.record))


class LivePeople:
    """People from records that come one at a time: after each, the groups are what :func:`agglomerate` would
    make of all of them at once.

    A group of mean weight t needs a pair of at least t, so only records connected by such pairs can change.
    """

    def __init__(self, matcher: Matcher, threshold: float = 0.0) -> None:
        self.matcher = matcher
        self.threshold = threshold
        self.group: list[int] = []
        self._near: list[dict[int, float]] = []

    def add(self, row: Mapping[str, str]) -> int:
        """Returns the group of the record: the smallest record number in it."""
        found = self.matcher.add(row, lowest=FLOOR)
        record = len(self.group)
        self.group.append(record)
        self._near.append({m.record: m.weight for m in found})
        for m in found:
            self._near[m.record][record] = m.weight
        members = self._connected(record)
        if len(members) > 1:
            self._regroup(sorted(members))
        return self.group[record]

    def _connected(self, record: int) -> set[int]:
        reached = {record}
        queue = [record]
        while queue:
            for other, weight in self._near[queue.pop()].items():
                if weight >= self.threshold and other not in reached:
                    reached.add(other)
                    queue.append(other)
        return reached

    def _regroup(self, members: list[int]) -> None:
        at = {record: i for i, record in enumerate(members)}
        pairs = [(at[a], at[b], w) for a in members for b, w in self._near[a].items() if b < a and b in at]
        left, right, bits = zip(*pairs, strict=True)
        tree = agglomerate(
            len(members), np.array(left), np.array(right), np.array(bits), lowest=self.threshold
        )
        for record, label in zip(members, tree.labels(self.threshold).tolist(), strict=True):
            self.group[record] = members[label]
