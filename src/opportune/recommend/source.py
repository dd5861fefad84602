"""The protocol that every candidate source follows."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.recommend.past import NO_PAST, Past

Items = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


class Kind(IntEnum):
    """How a person touched an item, weakest first."""

    VIEW = 0
    CART = 1
    BUY = 2


class Interactions(msgspec.Struct, frozen=True, gc=False):
    """Who touched what, when: four columns of equal length ``n``, in the order in which they were recorded.

    ``session`` (int64) numbers sessions in order of their first event, so a larger number is a newer session;
    clicks of several live sessions may be interleaved. ``item`` (int32) is the catalogue's dense item number,
    ``kind`` (int8) a :class:`Kind`, ``time`` (int64) milliseconds.
    """

    session: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item)


class Query(msgspec.Struct, frozen=True):
    """What a decision knows when it asks for candidates.

    ``session`` holds item numbers, oldest first, at most 50, repeats kept; ``kind`` and ``age_s`` (seconds
    since the touch) have the same shape. ``item`` is the item whose page is open, ``category`` the category
    number of the page; -1 where there is none. ``count`` is how many candidates are wanted. ``past`` is
    what the person did before the session, as far as is remembered and may be looked at.
    """

    session: Items
    kind: npt.NDArray[np.int8]
    age_s: Floats
    now: Millis
    count: int = 100
    item: int = -1
    category: int = -1
    past: Past = NO_PAST


class Candidates(msgspec.Struct, frozen=True):
    """Item numbers, best first, at most ``query.count``; ``score`` falls and is comparable within one answer
    only; ``because`` is the session item that spoke loudest for each candidate, -1 where none did."""

    item: Items
    score: Floats
    because: Items


class CandidateSource(Protocol):
    """A model that proposes items. Results are deterministic; ties break towards the newer item number.

    ``name`` is the permanent name in decision records and metrics, ``reason`` the reason code shown to people
    (``viewed_together``, ``similar``, ``trending``, ``popular``).
    """

    name: str
    reason: str

    def fit(self, interactions: Interactions) -> None:
        """Forget everything and learn from history, oldest first."""
        ...

    def update(self, interactions: Interactions) -> None:
        """Learn from what just happened. ``fit(a); update(b)`` recommends as ``fit(a + b)`` does."""
        ...

    def recommend(self, query: Query) -> Candidates:
        """Propose candidates; whether items of the session may come back is the placement's policy."""
        ...


class QuickSource(CandidateSource, Protocol):
    """A source that can write its answer where the decision wants it."""

    def recommend_into(self, query: Query, answer: Items) -> int:
        """As ``recommend``, written into ``answer`` (3, room): items, the bits of float32 scores, because; at
        most ``room``. Returns how many."""
        ...
