"""What one step of training a sequence model sees: sessions of one length class, and the items to tell apart.

The items of a step are those of its sessions and others drawn at random; how likely each was to be there
is known, and the softmax over them is corrected by it (Bengio & Senécal, "Adaptive importance sampling",
2008; Yi et al., "Sampling-bias-corrected neural modeling", RecSys 2019, for items that are there because
they are popular).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Interactions

Ints = npt.NDArray[np.int32]
ABSENT = 50.0
"""The log of a chance that takes an item out of the softmax."""


class Batch(NamedTuple):
    """``items`` (n,), distinct; ``session`` (b, t + 1): places in ``items``, -1 at the end of shorter ones;
    ``seen`` (b * t, n): 1 where the prefix of a target already has the item; ``log_chance`` (n,): log of the
    chance that the item is here."""

    items: Ints
    session: Ints
    seen: npt.NDArray[np.uint8]
    log_chance: npt.NDArray[np.float32]


class Batches:
    """Sessions in windows of at most ``window`` + 1 touches, in three classes of length, so that little of a
    step is padding; ``targets`` and ``items`` are the size of a step."""

    def __init__(
        self, history: Interactions, items: int, *, window: int, targets: int, step_items: int, seed: int
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._count = np.bincount(history.item, minlength=items).astype(np.float64)
        self._share = self._count / self._count.sum()
        self._known = np.flatnonzero(self._count > 0)
        self._step_items = min(step_items, items)
        self._lengths = sorted({min(3, window), max(window // 2, 1), window})
        self._per_step = [max(targets // length, 1) for length in self._lengths]
        self._sessions = _windows(history, self._lengths)

    @property
    def steps(self) -> int:
        """In one pass over the history."""
        return sum(-(-len(rows) // size) for rows, size in zip(self._sessions, self._per_step, strict=True))

    def once(self) -> Iterator[Batch]:
        """Every session once, in random order; the last step of a length class is filled up with others."""
        plan = []
        for rows, size in zip(self._sessions, self._per_step, strict=True):
            order = self._rng.permutation(len(rows))
            for first in range(0, len(rows), size):
                chosen = order[first : first + size]
                filling = self._rng.integers(0, len(rows), size - len(chosen))
                plan.append(rows[np.concatenate((chosen, filling))])
        for at in self._rng.permutation(len(plan)):
            yield self._batch(plan[at])

    def _batch(self, rows: Ints) -> Batch:
        touched = rows[rows >= 0]
        own = np.unique(touched)
        drawn = self._rng.permutation(self._known)[: self._step_items]
        others = drawn[~np.isin(drawn, own)][: self._step_items - len(own)]
        unknown = np.flatnonzero(self._count == 0)[: self._step_items - len(own) - len(others)]
        items = np.concatenate((own, others, unknown)).astype(np.int32)
        left_out = 1.0 - len(others) / max(len(self._known) - len(own), 1) if len(others) else 0.0
        absent = np.exp(-len(touched) * self._share[items]) * left_out
        log_chance = np.log(np.maximum(1.0 - absent, 1e-9))
        log_chance[self._count[items] == 0] = ABSENT
        place = np.full(len(self._count), -1, np.int32)
        place[items] = np.arange(len(items), dtype=np.int32)
        session = np.where(rows >= 0, place[np.maximum(rows, 0)], -1).astype(np.int32)
        size, length = len(rows), rows.shape[1] - 1
        seen = np.zeros((size, length, len(items)), np.uint8)
        for at in range(length):
            there = np.flatnonzero(session[:, at] >= 0)
            seen[there, at:, session[there, at]] = 1
        return Batch(items, session, seen.reshape(size * length, -1), log_chance.astype(np.float32))


def _windows(history: Interactions, lengths: list[int]) -> list[Ints]:
    """For each length, the sessions (b, length + 1) that have so many touches after their first, or fewer
    but more than the length before; longer sessions are cut from their end."""
    edges = np.flatnonzero(np.diff(history.session)) + 1
    parts: list[list[Ints]] = [[] for _ in lengths]
    longest = lengths[-1]
    for session in np.split(history.item.astype(np.int32), edges):
        last = len(session)
        while last > 1:
            piece = session[max(last - longest - 1, 0) : last]
            parts[int(np.searchsorted(lengths, len(piece) - 1))].append(piece)
            last -= longest
    found = []
    for length, pieces in zip(lengths, parts, strict=True):
        rows = np.full((len(pieces), length + 1), -1, np.int32)
        for row, piece in zip(rows, pieces, strict=True):
            row[: len(piece)] = piece
        found.append(rows)
    return found
