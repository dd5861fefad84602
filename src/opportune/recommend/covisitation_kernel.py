"""Neighbour rows of fixed width, and the kernels that count pairs into them and ask them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.by_address import (
    Addresses,
    byte_rows_at,
    double_rows_at,
    doubles_at,
    float_rows_at,
    int_rows_at,
    ints_at,
    longs_at,
)
from opportune.recommend.leaderboard import MOST_AHEAD_MS
from opportune.recommend.slots import slot_of
from opportune.recommend.top import select_top

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]

WINDOW = 8
"""Distinct items of a session that a new touch is paired with."""
LANDMARK, ITEMS, STARTED, NEWEST = 0, 1, 2, 3
RESCALE_AFTER = 40
"""Half-lives after which the landmark moves; weights are float32 and must stay finite."""


class Pairs(NamedTuple):
    """``neighbour`` and ``weight`` (capacity_items, width): 1 + the neighbour (0: free) and its decayed
    weight as of the landmark; ``touches`` (capacity_items,) decayed touches; per live session ``session``
    (1 + its number), ``recent`` (1 + item, newest first) and ``recent_kind``; ``state``: landmark, items,
    started, newest time."""

    neighbour: Ints
    weight: npt.NDArray[np.float32]
    touches: Table
    session: Longs
    recent: Ints
    recent_kind: npt.NDArray[np.int8]
    state: Longs


class PairWeights(NamedTuple):
    pair: Table
    gap: Table
    position: Table


class PairScratch(NamedTuple):
    slot_of_item: Ints
    item: Ints
    score: Table
    best_part: Table
    because: Ints
    chosen: Ints


@kernel
def count_pairs(
    pairs: Pairs,
    weights: PairWeights,
    half_life: float,
    backward: float,
    session: Longs,
    item: Ints,
    kind: npt.NDArray[np.int8],
    time: Longs,
) -> None:
    """Count touches in order, O(WINDOW * width) each. Unusable rows are ignored.

    A touch of an item that the session touched lately counts pairs only when its kind is a stronger one. A
    session whose place was taken by one that is ``capacity_sessions`` newer starts anew.
    """
    neighbour, weight, touches, live, recent, recent_kind, state = pairs
    places = len(live)
    for n in range(len(item)):
        i = item[n]
        k = kind[n]
        if i < 0 or i >= len(touches) or k < 0 or k > 2 or session[n] < 0:
            continue
        if state[STARTED] == 0:
            state[STARTED] = 1
            state[LANDMARK] = time[n]
            state[NEWEST] = time[n]
        moment = min(time[n], state[NEWEST] + MOST_AHEAD_MS)
        state[NEWEST] = max(state[NEWEST], moment)
        halves = (moment - state[LANDMARK]) / half_life
        if halves > RESCALE_AFTER:
            steps = int(halves)
            state[LANDMARK] += int(steps * half_life)
            scale = math.ldexp(1.0, -steps) if steps < 1000 else 0.0
            for other in range(state[ITEMS]):
                touches[other] *= scale
                for at in range(neighbour.shape[1]):
                    weight[other, at] *= scale
            halves = (moment - state[LANDMARK]) / half_life
        state[ITEMS] = max(state[ITEMS], i + 1)
        gain = math.exp(halves * math.log(2.0))
        touches[i] += gain

        place = session[n] % places
        if live[place] != session[n] + 1:
            live[place] = session[n] + 1
            recent[place, :] = 0
        found = -1
        for at in range(WINDOW):
            if recent[place, at] == i + 1:
                found = at
        if found < 0 or recent_kind[place, found] < k:
            gap = 0
            for at in range(WINDOW):
                other = recent[place, at] - 1
                if other < 0:
                    break
                if other == i:
                    continue
                earlier = recent_kind[place, at]
                part = gain * weights.pair[earlier, k] * weights.gap[gap]
                add_pair(neighbour[other], weight[other], i, part)
                add_pair(neighbour[i], weight[i], other, part * backward)
                gap += 1
        strongest = k if found < 0 else max(k, recent_kind[place, found])
        for at in range(WINDOW - 1 if found < 0 else found, 0, -1):
            recent[place, at] = recent[place, at - 1]
            recent_kind[place, at] = recent_kind[place, at - 1]
        recent[place, 0] = i + 1
        recent_kind[place, 0] = strongest


@kernel
def add_pair(neighbour: Ints, weight: npt.NDArray[np.float32], item: int, part: float) -> None:
    """Add to an item's weight in a row. When the row is full a newcomer first eats up the weakest entry:
    frequent newcomers get in, rare ones do not wash out what is known (after Misra and Gries, 1982)."""
    weakest = 0
    for at in range(len(neighbour)):
        if neighbour[at] == item + 1:
            weight[at] += np.float32(part)
            return
        if neighbour[at] == 0:
            neighbour[at] = item + 1
            weight[at] = np.float32(part)
            return
        if weight[at] < weight[weakest]:
            weakest = at
    left = weight[weakest] - np.float32(part)
    if left >= np.float32(0.0):
        weight[weakest] = left
    else:
        neighbour[weakest] = item + 1
        weight[weakest] = np.float32(part)


@kernel
def ask_neighbours(
    pairs: Pairs,
    scratch: PairScratch,
    weights: PairWeights,
    last_items: int,
    popularity_power: float,
    query: Ints,
    open_item: int,
    open_item_weight: float,
    out_item: Ints,
    out_score: npt.NDArray[np.float32],
    out_because: Ints,
) -> int:
    """Sum the rows of the session's last distinct items and of the open item; write the best
    ``len(out_item)`` and return how many. ``because`` is -1 for what only the open item says when it is not
    in the session."""
    neighbour, weight, touches, _, _, _, _ = pairs
    slot_of_item, item, score, best_part, because, chosen = scratch
    asked = np.empty(17, np.int32)
    asked_weight = np.empty(17, np.float64)
    q = 0
    open_in_session = False
    for back in range(len(query)):
        i = query[len(query) - 1 - back]
        if i == open_item:
            open_in_session = True
        if q == last_items or i < 0 or i >= len(touches):
            continue
        repeated = False
        for j in range(q):
            if asked[j] == i:
                repeated = True
        if not repeated:
            asked[q] = i
            asked_weight[q] = weights.position[q]
            q += 1
    if 0 <= open_item < len(touches):
        at = 0
        while at < q and asked[at] != open_item:
            at += 1
        if at == q:
            asked[q] = open_item
            q += 1
        asked_weight[at] = open_item_weight

    touched = 0
    for j in range(q):
        a = asked[j]
        if not touches[a] > 0.0:
            continue
        speaker = a if a != open_item or open_in_session else -1
        for at in range(neighbour.shape[1]):
            i = neighbour[a, at] - 1
            if i < 0:
                break
            norm = touches[a] * touches[i]
            if not weight[a, at] > 0.0 or not norm > 0.0:
                continue  # faded away, or touched only at times long past
            part = asked_weight[j] * weight[a, at] / norm**popularity_power
            t = slot_of(slot_of_item, item, touched, i)
            if t == touched:
                touched += 1
                score[t] = 0.0
                best_part[t] = -1.0
            score[t] += part
            if part > best_part[t]:
                best_part[t] = part
                because[t] = speaker
    found = select_top(score, item, touched, chosen[: len(out_item)])
    for rank in range(found):
        t = chosen[rank]
        out_item[rank] = item[t]
        out_score[rank] = score[t]
        out_because[rank] = because[t]
    return found


@kernel
def ask_pairs(table: Addresses, query: Ints, open_item: int, count: int, answer: Ints) -> int:
    """:func:`ask_neighbours` with everything but the question behind ``table``: pairs, scratch, weights, and
    (last items, popularity power, open item weight). Answers into ``answer`` (3, at least ``count``)."""
    pairs = Pairs(
        int_rows_at(table, 0), float_rows_at(table, 1), doubles_at(table, 2), longs_at(table, 3),
        int_rows_at(table, 4), byte_rows_at(table, 5), longs_at(table, 6),
    )  # fmt: skip
    scratch = PairScratch(
        ints_at(table, 7), ints_at(table, 8), doubles_at(table, 9), doubles_at(table, 10),
        ints_at(table, 11), ints_at(table, 12),
    )  # fmt: skip
    weights = PairWeights(double_rows_at(table, 13), doubles_at(table, 14), doubles_at(table, 15))
    knobs = doubles_at(table, 16)
    return ask_neighbours(
        pairs, scratch, weights, int(knobs[0]), knobs[1], query, open_item, knobs[2],
        answer[0, :count], answer[1, :count].view(np.float32), answer[2, :count],
    )  # fmt: skip
