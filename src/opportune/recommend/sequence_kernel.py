"""The sequence model's arithmetic for one session. ``sequence_reference.py`` is the same, readable."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.top import select_top

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
ASKED_ITEMS = 8
"""Of so many of the session's items, the heaviest, the neighbours are compared."""
LEAST_NEW = 0.05
"""The least share of the chances that items outside of the session have together."""


@kernel
def session_direction(
    vector: Floats,
    attention: Floats,
    importance: Floats,
    distance: Floats,
    value: Floats,
    session: Ints,
    place: Ints,
    weight: Floats,
    out: Floats,
) -> int:
    """Where the session is going: ``out`` (d,) of length 1. ``place`` and ``weight`` (window,) are filled
    with the positions of the known touches, newest first, and their attention; returns how many there are, 0
    when nothing is known of the session. O(window d + d^2)."""
    d = vector.shape[1]
    n = 0
    for back in range(len(session)):
        at = len(session) - 1 - back
        i = session[at]
        if n == len(distance) or not 0 <= i < len(vector):
            continue
        known = False
        for k in range(d):
            known |= vector[i, k] != 0.0
        if known:
            place[n] = at
            n += 1
    if n == 0:
        return 0
    key = importance.copy()
    newest = vector[session[place[0]]]
    for j in range(d):
        for k in range(d):
            key[k] += newest[j] * attention[j, k]
    top = -np.inf
    for s in range(n):
        own = vector[session[place[s]]]
        logit = np.float32(0.0)
        for k in range(d):
            logit += key[k] * own[k]
        weight[s] = logit + distance[s]
        top = max(top, weight[s])
    total = 0.0
    for s in range(n):
        weight[s] = math.exp(weight[s] - top)
        total += weight[s]
    mean = np.zeros(d, np.float32)
    for s in range(n):
        weight[s] /= total
        own = vector[session[place[s]]]
        for k in range(d):
            mean[k] += weight[s] * own[k]
    out[:] = mean
    for j in range(d):
        for k in range(d):
            out[k] += mean[j] * value[j, k]
    square = 1e-12
    for k in range(d):
        square += out[k] * out[k]
    scale = np.float32(1.0 / math.sqrt(square))
    for k in range(d):
        out[k] *= scale
    return n


@kernel
def fits(vector: Floats, direction: Floats, sharpness: float, item: Ints, out: Floats) -> None:
    """``exp(sharpness (direction x_j - 1))`` of each item, 0 where nothing is known of it. O(n d)."""
    d = vector.shape[1]
    for row in range(len(item)):
        i = item[row]
        out[row] = 0.0
        if not 0 <= i < len(vector):
            continue
        dot = np.float32(0.0)
        known = False
        for k in range(d):
            known |= vector[i, k] != 0.0
            dot += vector[i, k] * direction[k]
        if known:
            out[row] = math.exp(sharpness * (dot - 1.0))


@kernel
def reachable(
    neighbours: Ints, session: Ints, place: Ints, weight: Floats, n: int, mark: Ints, out: Ints
) -> int:
    """The items that the heaviest items of the session lead to, once each, none of the session; ``mark``
    (items,) is zero before and after. Returns how many. O(ASKED_ITEMS k)."""
    asked = np.zeros(n, np.bool_)
    for s in range(n):
        mark[session[place[s]]] = 1
    found = 0
    for _ in range(min(n, ASKED_ITEMS)):
        heaviest = -1
        for s in range(n):
            if not asked[s] and (heaviest < 0 or weight[s] > weight[heaviest]):
                heaviest = s
        asked[heaviest] = True
        i = session[place[heaviest]]
        for k in range(neighbours.shape[1]):
            j = neighbours[i, k]
            if j < 0:
                break
            if mark[j] == 0 and found < len(out):
                mark[j] = 1
                out[found] = j
                found += 1
    for s in range(n):
        mark[session[place[s]]] = 0
    for row in range(found):
        mark[out[row]] = 0
    return found


@kernel
def loudest(vector: Floats, candidate: Floats, session: Ints, place: Ints, weight: Floats, n: int) -> int:
    """The item of the session that speaks most for a candidate's vector: the largest ``weight_s x_s x_j``."""
    best, most = -1, -np.inf
    for s in range(n):
        dot = np.float32(0.0)
        for k in range(vector.shape[1]):
            dot += vector[session[place[s]], k] * candidate[k]
        if weight[s] * dot > most:
            most = weight[s] * dot
            best = session[place[s]]
    return best


@kernel
def ask_model(
    vector: Floats,
    attention: Floats,
    importance: Floats,
    distance: Floats,
    value: Floats,
    returns: Floats,
    neighbours: Ints,
    sharpness: float,
    fresh_item: Ints,
    fresh_vector: Floats,
    mark: Ints,
    session: Ints,
    count: int,
    answer: Ints,
) -> int:
    """Write the best ``count`` into ``answer`` (3, room): items, the bits of float32 scores, because. Returns
    how many. The chance of every item of the session by ``returns``; what remains is shared among the
    reachable items and the ``fresh`` ones (of -1: none) by their fit."""
    window = len(distance)
    place = np.empty(window, np.int32)
    weight = np.empty(window, np.float32)
    direction = np.empty(vector.shape[1], np.float32)
    n = session_direction(vector, attention, importance, distance, value, session, place, weight, direction)
    if n == 0 or count <= 0:
        return 0
    room = n + ASKED_ITEMS * neighbours.shape[1] + len(fresh_item)
    item = np.empty(room, np.int32)
    score = np.empty(room, np.float64)
    found = reachable(neighbours, session, place, weight, n, mark, item)
    fit = np.empty(found, np.float32)
    fits(vector, direction, sharpness, item[:found], fit)
    total = 0.0
    for row in range(found):
        score[row] = fit[row]
        total += fit[row]
    reached = found
    fresh_row = np.empty(len(fresh_item), np.int32)
    for f in range(len(fresh_item)):
        if fresh_item[f] < 0:
            continue
        seen = False
        for at in range(len(session)):
            seen |= session[at] == fresh_item[f]
        if seen:
            continue
        dot = np.float32(0.0)
        for k in range(len(direction)):
            dot += fresh_vector[f, k] * direction[k]
        fresh_row[found - reached] = f
        item[found] = fresh_item[f]
        score[found] = math.exp(sharpness * (dot - 1.0))
        total += score[found]
        found += 1
    staying = 0.0
    first_seen = found
    for s in range(n):
        again = False
        for row in range(first_seen, found):
            again |= item[row] == session[place[s]]
        if not again:
            item[found] = session[place[s]]
            score[found] = returns[s]
            staying += score[found]
            found += 1
    scale = max(1.0 - staying, LEAST_NEW) / total if total > 0.0 else 0.0
    for row in range(first_seen):
        score[row] *= scale
    chosen = np.empty(min(count, answer.shape[1], found), np.int32)
    size = select_top(score, item, found, chosen)
    bits = answer[1].view(np.float32)
    for rank in range(size):
        row = chosen[rank]
        answer[0, rank] = item[row]
        bits[rank] = score[row]
        if row >= first_seen:
            answer[2, rank] = item[row]
        elif row < reached:
            answer[2, rank] = loudest(vector, vector[item[row]], session, place, weight, n)
        else:
            fresh = fresh_vector[fresh_row[row - reached]]
            answer[2, rank] = loudest(vector, fresh, session, place, weight, n)
    return size
