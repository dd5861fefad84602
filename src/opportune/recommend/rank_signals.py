"""What the ranker's features are computed from: counts, transitions and neighbours of items, always live."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.columns import plain_interactions
from opportune.recommend.covisitation_kernel import WINDOW, add_pair
from opportune.recommend.pages import lazy_zeros
from opportune.recommend.source import Interactions

HALF_LIVES = (1 << 13, 1 << 16, 1 << 19)
"""Half-lives of the three counts of an item's touches, in touches of the whole shop: now, lately, long ago.
A clock of touches runs as fast as the shop does; it needs no time stamps and never stands still at night."""
NOW, LATELY, LONG = 0, 1, 2
WIDTH = 40
GAP_DECAY = 0.8
_CLOCK = 0


class Signals(NamedTuple):
    """``counts`` (items, 3): decayed touches as of the item's last touch; ``last``, ``born`` (items,): the
    shop's touch number at its last and first touch, 0 for never; ``returned`` (items,): touches in sessions
    that had touched it before; ``followed`` (items,): touches that another item came directly after.

    ``next_item``, ``next_weight`` (items, WIDTH): 1 + the items that came directly after it, and how often;
    ``near_item``, ``near_weight``: those within ``WINDOW`` distinct items, either way, less by distance.
    ``live``, ``recent``: of the sessions going on, 1 + their number, and 1 + their last items, newest first.
    """

    counts: npt.NDArray[np.float64]
    last: npt.NDArray[np.int64]
    born: npt.NDArray[np.int64]
    returned: npt.NDArray[np.float32]
    followed: npt.NDArray[np.float32]
    next_item: npt.NDArray[np.int32]
    next_weight: npt.NDArray[np.float32]
    near_item: npt.NDArray[np.int32]
    near_weight: npt.NDArray[np.float32]
    live: npt.NDArray[np.int64]
    recent: npt.NDArray[np.int32]
    state: npt.NDArray[np.int64]


def new_signals(capacity_items: int = 1 << 22, capacity_sessions: int = 1 << 18) -> Signals:
    return Signals(
        counts=lazy_zeros((capacity_items, len(HALF_LIVES)), np.float64),
        last=lazy_zeros(capacity_items, np.int64),
        born=lazy_zeros(capacity_items, np.int64),
        returned=lazy_zeros(capacity_items, np.float32),
        followed=lazy_zeros(capacity_items, np.float32),
        next_item=lazy_zeros((capacity_items, WIDTH), np.int32),
        next_weight=lazy_zeros((capacity_items, WIDTH), np.float32),
        near_item=lazy_zeros((capacity_items, WIDTH), np.int32),
        near_weight=lazy_zeros((capacity_items, WIDTH), np.float32),
        live=lazy_zeros(capacity_sessions, np.int64),
        recent=lazy_zeros((capacity_sessions, WINDOW), np.int32),
        state=np.zeros(1, np.int64),
    )


class RankSignals:
    """Signals that follow every touch. About 0.7 KB an item that was touched; ``update`` about 0.6 us a touch
    in bulk."""

    def __init__(self, capacity_items: int = 1 << 22, capacity_sessions: int = 1 << 18) -> None:
        self._capacity = capacity_items, capacity_sessions
        self.arrays = new_signals(capacity_items, capacity_sessions)

    def fit(self, interactions: Interactions) -> None:
        self.arrays = new_signals(*self._capacity)
        self.update(interactions)

    def update(self, interactions: Interactions) -> None:
        rows = plain_interactions(interactions)
        learn_touches(self.arrays, rows.session, rows.item)


@kernel
def learn_touches(signals: Signals, session: npt.NDArray[np.int64], item: npt.NDArray[np.int32]) -> None:
    """Learn touches in order. O(WINDOW * WIDTH) each. Rows outside the tables are ignored."""
    (counts, last, born, returned, followed, next_item, next_weight, near_item, near_weight, live, recent,
     state) = signals  # fmt: skip
    for n in range(len(item)):
        i = item[n]
        if i < 0 or i >= len(last) or session[n] < 0:
            continue
        state[_CLOCK] += 1
        clock = state[_CLOCK]
        for scale in range(len(HALF_LIVES)):
            if last[i] > 0:
                counts[i, scale] *= math.exp2(-(clock - last[i]) / HALF_LIVES[scale])
            counts[i, scale] += 1.0
        last[i] = clock
        if born[i] == 0:
            born[i] = clock

        place = session[n] % len(live)
        if live[place] != session[n] + 1:
            live[place] = session[n] + 1
            recent[place, :] = 0
        found = -1
        for at in range(WINDOW):
            if recent[place, at] == i + 1:
                found = at
        before = recent[place, 0] - 1
        if before >= 0 and before != i:
            followed[before] += np.float32(1.0)
            add_pair(next_item[before], next_weight[before], i, 1.0)
        if found >= 0:
            returned[i] += np.float32(1.0)
        else:
            part = 1.0
            for at in range(WINDOW):
                other = recent[place, at] - 1
                if other < 0:
                    break
                add_pair(near_item[other], near_weight[other], i, part)
                add_pair(near_item[i], near_weight[i], other, part)
                part *= GAP_DECAY
        for at in range(WINDOW - 1 if found < 0 else found, 0, -1):
            recent[place, at] = recent[place, at - 1]
        recent[place, 0] = i + 1


@kernel
def pair_weight(
    neighbour: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], row: int, item: int
) -> float:
    """The weight of ``item`` in a row, 0 where it is not in it."""
    for at in range(neighbour.shape[1]):
        other = neighbour[row, at]
        if other == item + 1:
            return float(weight[row, at])
        if other == 0:
            break
    return 0.0


@kernel
def touches_now(signals: Signals, item: int, scale: int) -> float:
    """Decayed touches of an item as of the shop's newest touch."""
    if signals.last[item] == 0:
        return 0.0
    age = signals.state[_CLOCK] - signals.last[item]
    return float(signals.counts[item, scale] * math.exp2(-age / HALF_LIVES[scale]))
