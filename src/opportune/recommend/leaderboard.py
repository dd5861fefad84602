"""Touches per item with exponential decay over event time, and the always current list of the most touched.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009): a touch at time t adds ``weight * 2 ** ((t -
landmark) / half_life)``. Counts at any moment differ from the sums by one common factor, so the order never
changes by the mere passing of time, late events land where they belong, and an item can only rise when it
is touched itself: the top list is maintained exactly, touch by touch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.clock import DAY, Millis
from opportune.kernels import kernel
from opportune.recommend.by_address import Addresses, doubles_at, int_rows_at, ints_at, longs_at
from opportune.recommend.pages import lazy_zeros
from opportune.recommend.source import Interactions
from opportune.recommend.top import ranks_before, select_top

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]

LANDMARK, ITEMS, STARTED, NEWEST = 0, 1, 2, 3
MOST_AHEAD_MS = DAY
"""A touch further ahead of all before it counts as this far ahead, so that one wrong clock cannot make
everything else look ancient."""
_RESCALE_AFTER = 400
"""Half-lives after which the landmark moves and all sums are scaled by an exact power of two."""


class Board(NamedTuple):
    """``total`` (capacity_items,) sums as of the landmark; ``list_of`` and ``place`` (capacity_items,) say
    in which list an item stands (1 + list, 0 for none) and where; ``top`` (lists, length) holds the items
    of each list, best first, ``size`` (lists,) how many; ``state`` is landmark, items seen, started, newest
    time."""

    total: Table
    list_of: Ints
    place: Ints
    top: Ints
    size: Ints
    state: Longs


def new_board(capacity_items: int, length: int, lists: int = 1) -> Board:
    return Board(
        total=lazy_zeros(capacity_items, np.float64),
        list_of=lazy_zeros(capacity_items, np.int32),
        place=lazy_zeros(capacity_items, np.int32),
        top=lazy_zeros((lists, length), np.int32),
        size=np.zeros(lists, np.int32),
        state=np.zeros(4, np.int64),
    )


@kernel
def count_touches(
    board: Board,
    item: Ints,
    kind: npt.NDArray[np.int8],
    time: Longs,
    group: Ints,
    weight: Table,
    half_life: float,
) -> None:
    """Count touches in order. ``group`` gives each touch's list, -1 for none. Unusable rows are ignored.

    O(1) a touch, plus the places that the item rises.
    """
    total, list_of, place, top, size, state = board
    for n in range(len(item)):
        i = item[n]
        if i < 0 or i >= len(total) or kind[n] < 0 or kind[n] >= len(weight):
            continue
        if state[STARTED] == 0:
            state[STARTED] = 1
            state[LANDMARK] = time[n]
            state[NEWEST] = time[n]
        moment = min(time[n], state[NEWEST] + MOST_AHEAD_MS)
        state[NEWEST] = max(state[NEWEST], moment)
        halves = (moment - state[LANDMARK]) / half_life
        if halves > _RESCALE_AFTER:
            steps = int(halves)
            state[LANDMARK] += int(steps * half_life)
            scale = math.ldexp(1.0, -steps) if steps < 1000 else 0.0
            for other in range(state[ITEMS]):
                total[other] *= scale
            halves = (moment - state[LANDMARK]) / half_life
        state[ITEMS] = max(state[ITEMS], i + 1)
        total[i] += weight[kind[n]] * math.exp(halves * math.log(2.0))

        g = group[n]
        if list_of[i] != 0 and list_of[i] != g + 1:  # it changed lists: close the gap it leaves
            old = list_of[i] - 1
            size[old] -= 1
            for at in range(place[i], size[old]):
                top[old, at] = top[old, at + 1]
                place[top[old, at]] = at
            list_of[i] = 0
        if g < 0 or g >= len(size) or not total[i] > 0.0:
            continue
        if list_of[i] != 0:
            at = place[i]
        elif size[g] < top.shape[1]:
            at = size[g]
            size[g] += 1
        else:
            at = top.shape[1] - 1
            last = top[g, at]
            if not ranks_before(total[i], i, total[last], last):
                continue
            list_of[last] = 0
        while at > 0:
            above = top[g, at - 1]
            if not ranks_before(total[i], i, total[above], above):
                break
            top[g, at] = above
            place[above] = at
            at -= 1
        top[g, at] = i
        place[i] = at
        list_of[i] = g + 1


@kernel
def rank_by_excess(
    fast: Board,
    slow: Board,
    fast_factor: float,
    slow_factor: float,
    ratio: float,
    prior: float,
    out_item: Ints,
    out_score: npt.NDArray[np.float32],
) -> int:
    """Write the listed items of ``fast`` by how far they exceed what ``slow`` leads to expect, in standard
    deviations, and return how many do."""
    listed = fast.size[0]
    score = np.empty(listed, np.float64)
    for at in range(listed):
        i = fast.top[0, at]
        expected = slow.total[i] * slow_factor * ratio
        score[at] = (fast.total[i] * fast_factor - expected) / math.sqrt(expected + prior)
    chosen = np.empty(len(out_item), np.int32)
    found = select_top(score, fast.top[0], listed, chosen)
    for rank in range(found):
        out_item[rank] = fast.top[0, chosen[rank]]
        out_score[rank] = score[chosen[rank]]
    return found


@kernel
def _board_at(table: Addresses, first: int) -> Board:
    return Board(
        doubles_at(table, first), ints_at(table, first + 1), ints_at(table, first + 2),
        int_rows_at(table, first + 3), ints_at(table, first + 4), longs_at(table, first + 5),
    )  # fmt: skip


@kernel
def ask_list(table: Addresses, group: int, factor: float, group_of: Ints, count: int, answer: Ints) -> int:
    """Write the first ``count`` of a list of the board behind ``table`` into ``answer`` (3, at least that
    many), those left out that ``group_of`` says are elsewhere now; an empty ``group_of`` says nothing."""
    board = _board_at(table, 0)
    score = answer[1].view(np.float32)
    found = 0
    for at in range(board.size[group]):
        if found == count:
            break
        i = board.top[group, at]
        if len(group_of) > 0 and (i >= len(group_of) or group_of[i] != group):
            continue
        answer[0, found] = i
        score[found] = board.total[i] * factor
        answer[2, found] = -1
        found += 1
    return found


@kernel
def ask_excess(
    table: Addresses,
    fast_factor: float,
    slow_factor: float,
    ratio: float,
    prior: float,
    count: int,
    answer: Ints,
) -> int:
    """:func:`rank_by_excess` of the two boards behind ``table``, into ``answer`` (3, at least ``count``)."""
    answer[2, :count] = -1
    return rank_by_excess(
        _board_at(table, 0), _board_at(table, 6), fast_factor, slow_factor, ratio, prior,
        answer[0, :count], answer[1, :count].view(np.float32),
    )  # fmt: skip


def factor_at(board: Board, half_life: float, now: Millis) -> float:
    """What the sums are multiplied with to be counts as of ``now``; 0 when that is too long ago to say.

    A moment before the landmark reads as the landmark."""
    halves = (now - int(board.state[LANDMARK])) / half_life
    return math.exp2(-min(max(halves, 0.0), 1000.0))


def decayed_counts(
    interactions: Interactions, n_items: int, weight: Table, half_life: float, now: Millis
) -> Table:
    """The readable reference: counts per item as of ``now``."""
    aged = weight[interactions.kind] * 2.0 ** ((interactions.time - now) / half_life)
    counts: Table = np.bincount(interactions.item, weights=aged, minlength=n_items).astype(np.float64)
    return counts
