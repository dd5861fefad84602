"""Sessions as flat arrays, and the cases that the protocol asks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from benchmarks.quality.session_tables import clicks
from benchmarks.quality.tables import is_number

from opportune.recommend.source import Interactions

Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


class Sessions(NamedTuple):
    """Clicks of whole sessions, one after another: session ``s`` is ``item[start[s]:start[s + 1]]``. ``time``
    of each click in milliseconds and ``person`` of each session by number, where the data says."""

    item: Ints
    start: Longs
    time: Longs | None = None
    person: Longs | None = None

    def __len__(self) -> int:
        return len(self.start) - 1

    def slice(self, first: int, last: int) -> Sessions:
        a, b = self.start[first], self.start[last]
        return Sessions(
            self.item[a:b],
            self.start[first : last + 1] - a,
            None if self.time is None else self.time[a:b],
            None if self.person is None else self.person[first:last],
        )

    def sample(self, count: int, seed: int) -> Sessions:
        """At most ``count`` sessions drawn without replacement, in their order."""
        if count >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        rows = [np.arange(self.start[s], self.start[s + 1]) for s in chosen]
        kept = np.concatenate(rows)
        return Sessions(
            self.item[kept],
            np.cumsum([0, *map(len, rows)]),
            None if self.time is None else self.time[kept],
            None if self.person is None else self.person[chosen],
        )

    def interactions(self) -> Interactions:
        """The sessions as history: numbered in order, every click a view, a second apart where
        the data has no times."""
        n = len(self.item)
        number = np.repeat(np.arange(len(self)), np.diff(self.start))
        return Interactions(
            session=number.astype(np.int64),
            item=self.item,
            kind=np.zeros(n, np.int8),
            time=np.arange(n, dtype=np.int64) * 1000 if self.time is None else self.time,
        )


class Cases(NamedTuple):
    """Every prefix of every session: predict ``item[at]`` from ``item[first:at]`` of the same session."""

    item: Ints
    first: Longs
    at: Longs
    session: Longs

    def __len__(self) -> int:
        return len(self.at)


def cases(sessions: Sessions) -> Cases:
    length = np.diff(sessions.start)
    session = np.repeat(np.arange(len(sessions)), length)
    first = np.repeat(sessions.start[:-1], length)
    at = np.arange(len(sessions.item))
    asked = at > first
    return Cases(sessions.item, first[asked], at[asked], session[asked])


class Split(NamedTuple):
    train: Sessions
    test: Sessions
    items: int


def load(folder: Path) -> Split:
    """Read ``folder`` in any of the shapes of ``session_tables.py``; items are numbered densely in order of
    first click. Raises :class:`FileNotFoundError` and :class:`ValueError` saying what is missing."""
    found = clicks(folder)
    order = np.lexsort((np.arange(len(found.order)), found.order, found.session, found.is_test))
    session, item_id, is_test = found.session[order], found.item[order], found.is_test[order]
    known = item_id if is_number(item_id) else item_id.astype(str)
    _, first_seen, inverse = np.unique(known, return_index=True, return_inverse=True)
    number = np.empty(len(first_seen), np.int32)
    number[np.argsort(first_seen, kind="stable")] = np.arange(len(first_seen), dtype=np.int32)
    item = number[inverse]
    time = None if found.time is None else np.round(found.time[order] * 1000).astype(np.int64)
    person = None
    if found.user is not None:
        person = np.unique(found.user[order].astype(str), return_inverse=True)[1].astype(np.int64)
    for part, name in ((~is_test, "train"), (is_test, "test")):
        if not part.any():
            raise ValueError(f"{folder} has no {name} sessions")
    return Split(
        train=_grouped(session, item, time, person, ~is_test),
        test=_grouped(session, item, time, person, is_test),
        items=len(first_seen),
    )


def _grouped(
    session: Longs, item: Ints, time: Longs | None, person: Longs | None, kept: npt.NDArray[np.bool_]
) -> Sessions:
    session, item = session[kept], item[kept]
    start = np.concatenate(([0], np.flatnonzero(np.diff(session)) + 1, [len(item)])).astype(np.int64)
    return Sessions(
        np.ascontiguousarray(item),
        start,
        None if time is None else np.ascontiguousarray(time[kept]),
        None if person is None else person[kept][start[:-1]],
    )
