"""The session index as flat arrays, and the kernels that append to it and ask it.

One arena holds every click; a click links to the older click of the same item and of the same session, so
appending is O(1) and the index is always live, and both lists are in order of recency as they stand. The
arena is a ring: when it is full the newest click takes the place of the oldest. A link is
``1 + click number`` (0: none, so zeroed memory is an empty index), and is dead once its click was
overwritten: links to old clicks are never repaired, only checked. ``vmis.py`` is the readable reference.

A list of links waits for memory at every step: on ten million clicks that was more than half of a query. So
an item keeps its newest links, a click links to the click ``AHEAD`` older as well, and what will be read soon
is asked for early; the clicks of all neighbours are walked side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.by_address import (
    Addresses,
    double_rows_at,
    doubles_at,
    int_rows_at,
    ints_at,
    longs_at,
)
from opportune.recommend.prefetch import prefetch
from opportune.recommend.session_knn_config import (
    BUCKETS,
    EXACT_COUNTS,
    MAX_SESSION,
    Weights,
)
from opportune.recommend.slots import slot_of
from opportune.recommend.top import select_top

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]

ITEM_AND_KIND, OLDER_OF_SESSION, SESSION, OLDER_OF_ITEM, FAR_OF_ITEM = 0, 1, 2, 3, 4
"""Columns of the arena. The item is shifted by ``KIND_BITS``."""
COLUMNS = 5
KIND_BITS = 2
NEWEST, CLICKS = 0, 1
"""Columns of the sessions."""
AHEAD = 7
"""Columns of the items: links to the newest ``AHEAD`` clicks of the list, and the number of clicks."""
ITEM_CLICKS = AHEAD
APPENDED, SESSIONS, CONTINUED, STAYED, MOVED, RETURNED = 0, 1, 2, 3, 4, 5
SESSION_BITS = 0x7FFFFFFF


class Index(NamedTuple):
    """``arena`` (capacity, 5) one row a click; ``items`` (capacity_items, 8): its newest clicks and how many
    there are; ``sessions`` (capacity, 2): newest click and number of clicks; ``counters``: clicks ever
    appended, sessions alive, and what people did next. All zero at first."""

    arena: Ints
    items: Ints
    sessions: Ints
    counters: Longs


class Scratch(NamedTuple):
    """Memory that one query uses and the next one reuses; nothing in it is read before it is written, except
    ``slot_of_item`` (:mod:`~opportune.recommend.slots`). ``walk`` (neighbours, 50): rows of the arena."""

    slot_of_session: Ints
    session: Ints
    anchor: Ints
    nearest: Ints
    matched: Ints
    similarity: Table
    ordered: Table
    chosen_slot: Ints
    walk: Ints
    steps: Ints
    slot_of_item: Ints
    item: Ints
    score: Table
    echo: Table
    share: Table
    chosen: Ints


@kernel
def append_clicks(index: Index, session: Longs, item: Ints, kind: npt.NDArray[np.int8]) -> int:
    """Append clicks in order; returns how many were ignored (items outside the table, unknown kinds)."""
    arena, items, sessions, counters = index
    capacity = len(arena)
    mask = capacity - 1
    ignored = 0
    for i in range(len(item)):
        if item[i] < 0 or item[i] >= len(items) or kind[i] < 0 or kind[i] > 2 or session[i] < 0:
            ignored += 1
            continue
        number = counters[APPENDED]
        at = number & mask
        s = np.int32(session[i] & SESSION_BITS)
        if number >= capacity:
            items[arena[at, ITEM_AND_KIND] >> KIND_BITS, ITEM_CLICKS] -= 1
            room = arena[at, SESSION] & mask
            newest = sessions[room, NEWEST]
            if newest > 0 and arena[(newest - 1) & mask, SESSION] == arena[at, SESSION]:
                sessions[room, CLICKS] -= 1
                if sessions[room, CLICKS] == 0:
                    sessions[room, NEWEST] = 0
                    counters[SESSIONS] -= 1
        oldest = max(number - capacity + 1, 0)

        links = items[item[i]]
        older, far = links[0], links[AHEAD - 1]
        if older <= oldest:
            older = 0
        if older > 0 and arena[(older - 1) & mask, SESSION] == s:
            far = arena[(older - 1) & mask, FAR_OF_ITEM]
            older = arena[(older - 1) & mask, OLDER_OF_ITEM]
        else:
            for later in range(AHEAD - 1, 0, -1):
                links[later] = links[later - 1]
        before = sessions[s & mask, NEWEST]
        if before > oldest and arena[(before - 1) & mask, SESSION] == s:
            sessions[s & mask, CLICKS] += 1
            counters[CONTINUED] += 1
            last = arena[(before - 1) & mask, ITEM_AND_KIND] >> KIND_BITS
            if last == item[i]:
                counters[STAYED] += 1
            last_but_one = arena[(before - 1) & mask, OLDER_OF_SESSION]
            if last_but_one > oldest:
                first = arena[(last_but_one - 1) & mask, ITEM_AND_KIND] >> KIND_BITS
                if first != last:
                    counters[MOVED] += 1
                    if first == item[i]:
                        counters[RETURNED] += 1
        else:
            if before <= oldest:
                counters[SESSIONS] += 1
            before = 0
            sessions[s & mask, CLICKS] = 1

        arena[at, ITEM_AND_KIND] = item[i] << KIND_BITS | kind[i]
        arena[at, OLDER_OF_SESSION] = before
        arena[at, SESSION] = s
        arena[at, OLDER_OF_ITEM] = older
        arena[at, FAR_OF_ITEM] = far
        links[0] = number + 1
        links[ITEM_CLICKS] += 1
        sessions[s & mask, NEWEST] = number + 1
        counters[APPENDED] = number + 1
    return ignored


@kernel
def bucket_of_count(count: int) -> int:
    if count < EXACT_COUNTS:
        return count
    mantissa, exponent = math.frexp(float(count))
    return min(EXACT_COUNTS + (exponent - 11) * 16 + int(mantissa * 32.0) - 16, BUCKETS - 1)


@kernel
def kth_largest(values: Table, n: int, k: int) -> float:
    """The ``k``-th largest (1 is the largest) of the first ``n`` values, which are reordered. Quickselect."""
    low, high, want = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return float(values[want])


@kernel
def gather(
    index: Index,
    scratch: Scratch,
    weights: Weights,
    rarity: Table,
    steps_per_click: float,
    most_sessions: int,
    most_neighbours: int,
    terms: Ints,
    term_weight: Table,
    loudness: Table,
    speaks_for: Ints,
    score: Table,
    touched: int,
    shared_from: int,
) -> int:
    """Add to ``score`` what the sessions nearest to the weighted items ``terms`` say; returns how many items
    are touched now. Items in slots below ``shared_from`` do not add to ``share``."""
    arena, items, sessions, counters = index
    (slot_of_session, session, anchor, nearest, matched, similarity, ordered, chosen_slot, walk, steps,
     slot_of_item, item, _, _, share, _) = scratch  # fmt: skip
    appended = counters[APPENDED]
    mask = len(arena) - 1
    oldest = max(appended - len(arena), 0)
    q = len(terms)

    # 1 The most recent sessions that touched the items: a merge of lists that are in order of recency.
    head = np.empty(q, np.int32)
    term_rarity = np.empty(q, np.float64)
    for j in range(q):
        prefetch(items, terms[j])
    for j in range(q):
        links = items[terms[j]]
        head[j] = links[0]
        term_rarity[j] = term_weight[j] * rarity[0, bucket_of_count(links[ITEM_CLICKS])]
        for ahead in range(AHEAD):
            prefetch(arena, (links[ahead] - 1) & mask)
    hash_mask = len(slot_of_session) - 1
    slot_of_session[:] = 0
    n = 0
    for _ in range(8 * most_sessions):
        j = 0
        link = head[0]
        for other in range(1, q):
            if head[other] > link:
                link = head[other]
                j = other
        if link <= oldest:
            break
        at = (link - 1) & mask
        s = arena[at, SESSION]
        head[j] = arena[at, OLDER_OF_ITEM]
        prefetch(arena, (arena[at, FAR_OF_ITEM] - 1) & mask)
        place = (s * 0x9E3779B1 >> 7) & hash_mask
        slot = slot_of_session[place] - 1
        while slot >= 0 and session[slot] != s:
            place = (place + 1) & hash_mask
            slot = slot_of_session[place] - 1
        if slot < 0:
            if n == most_sessions:
                break
            slot = n
            n += 1
            slot_of_session[place] = n
            prefetch(sessions, s & mask)
            session[slot] = s
            anchor[slot] = link
            nearest[slot] = j
            matched[slot] = 1 << j
            similarity[slot] = term_rarity[j]
        elif not matched[slot] >> j & 1:
            matched[slot] |= 1 << j
            similarity[slot] += term_rarity[j]
            if j < nearest[slot]:
                nearest[slot] = j
                anchor[slot] = link
    for slot in range(n):
        clicks = sessions[session[slot] & mask, CLICKS]
        step = int((appended - anchor[slot]) * steps_per_click)
        similarity[slot] *= weights.length[min(clicks, MAX_SESSION)]
        similarity[slot] *= weights.recency[min(step, len(weights.recency) - 1)]
        ordered[slot] = similarity[slot]

    # 2 The most similar of them; of equals the more recent.
    threshold = -1.0
    ties = n
    if n > most_neighbours:
        threshold = kth_largest(ordered, n, most_neighbours)
        ties = most_neighbours
        for slot in range(n):
            if similarity[slot] > threshold:
                ties -= 1
    speakers = 0
    for slot in range(n):
        if similarity[slot] < threshold:
            continue
        if similarity[slot] == threshold:
            if ties == 0:
                continue
            ties -= 1
        chosen_slot[speakers] = slot
        speakers += 1

    # 3 Their clicks, newest first: one step back in every session, then the next, so that none waits for
    # another. Some of them have ended after each step.
    for k in range(speakers):
        prefetch(arena, (sessions[session[chosen_slot[k]] & mask, NEWEST] - 1) & mask)
    going = np.empty(speakers, np.int32)
    next_link = np.empty(speakers, np.int32)
    for k in range(speakers):
        slot = chosen_slot[k]
        link = sessions[session[slot] & mask, NEWEST]
        if link <= oldest or arena[(link - 1) & mask, SESSION] != session[slot]:
            link = anchor[slot]  # its place was taken by a session that began `capacity` sessions later
        steps[k] = 0
        going[k] = k
        next_link[k] = link
    left = speakers
    for step in range(MAX_SESSION):
        still = 0
        for g in range(left):
            k, link = going[g], next_link[g]
            if link <= oldest:
                continue
            at = (link - 1) & mask
            walk[k, step] = at
            steps[k] = step + 1
            prefetch(slot_of_item, arena[at, ITEM_AND_KIND] >> KIND_BITS)
            going[still] = k
            next_link[still] = arena[at, OLDER_OF_SESSION]
            still += 1
        left = still
        if left == 0:
            break

    # 4 What they say, weighted by distance to the match.
    for k in range(speakers):
        slot = chosen_slot[k]
        speaker = speaks_for[nearest[slot]]
        strength = similarity[slot] * loudness[nearest[slot]]
        matching = (anchor[slot] - 1) & mask
        clicks = steps[k]
        match = MAX_SESSION
        for place in range(clicks):
            if walk[k, place] == matching:
                match = place
        for place in range(clicks):
            said = arena[walk[k, place], ITEM_AND_KIND]
            distance = match - place
            near = weights.after[distance] if distance >= 0 else weights.before[-distance]
            part = strength * near * weights.kind[said & 3]
            i = said >> KIND_BITS
            t = slot_of(slot_of_item, item, touched, i)
            if t == touched:
                touched += 1
                _clear_slot(scratch, t)
                prefetch(items, i)
            score[t] += part
            if t >= shared_from:
                share[t, speaker] += part
    return touched


@kernel
def _clear_slot(scratch: Scratch, slot: int) -> None:
    scratch.score[slot] = 0.0
    scratch.echo[slot] = 0.0
    scratch.share[slot, :] = 0.0


@kernel
def _to_unit(score: Table, item: Ints, touched: int, items: Ints, rarity: Table) -> None:
    """Weigh by the items' rarity and scale so that the largest score is 1."""
    top = 0.0
    for t in range(touched):
        score[t] *= rarity[1, bucket_of_count(items[item[t], ITEM_CLICKS])]
        top = max(top, score[t])
    if top > 0.0:
        for t in range(touched):
            score[t] /= top


@kernel
def query_index(
    index: Index,
    scratch: Scratch,
    weights: Weights,
    rarity: Table,
    sizes: tuple[int, int, int, int, int, int, int],
    steps_per_click: float,
    echo_weight: float,
    query: Ints,
    count: int,
    out_item: Ints,
    out_score: npt.NDArray[np.float32],
    out_because: Ints,
) -> int:
    """Write the best ``count`` items for a session of item numbers (oldest first, at most 50) and return how
    many there are. ``sizes``: m, k, last_items, linear positions (0 or 1), echo items, sessions, neighbours.

    O(m log q + k * length + touched log count), whatever the size of the index.
    """
    items = index.items
    slot_of_item, item, score, echo, share = (
        scratch.slot_of_item, scratch.item, scratch.score, scratch.echo, scratch.share
    )  # fmt: skip
    most_sessions, most_neighbours, last_items, linear, echo_items, echo_sessions, echo_neighbours = sizes
    length = len(query)

    # The distinct items of the session, newest first, and how often each is in it.
    known = np.empty(MAX_SESSION, np.int32)
    back_of_known = np.empty(MAX_SESSION, np.int32)
    times = np.zeros(MAX_SESSION, np.int32)
    distinct = 0
    for back in range(length):
        i = query[length - 1 - back]
        if i < 0 or i >= len(items):
            continue
        at = 0
        while at < distinct and known[at] != i:
            at += 1
        if at == distinct:
            known[at] = i
            back_of_known[at] = back
            distinct += 1
        times[at] += 1
    if distinct == 0 or index.counters[APPENDED] == 0:
        return 0

    # Those that anybody clicked ask for neighbours.
    asks = np.empty(last_items, np.int32)
    weight = np.empty(last_items, np.float64)
    loudness = np.empty(last_items, np.float64)
    q = 0
    for j in range(distinct):
        if items[known[j], ITEM_CLICKS] == 0 or q == last_items:
            continue
        back = back_of_known[j]
        asks[q] = known[j]
        weight[q] = (length - back) / length if linear else weights.position[back]
        loudness[q] = weights.anchor[back]
        q += 1
    touched = 0
    if q > 0:
        touched = gather(
            index, scratch, weights, rarity, steps_per_click, most_sessions, most_neighbours,
            asks[:q], weight[:q], loudness[:q], np.arange(q).astype(np.int32), score, 0, 0,
        )  # fmt: skip
    _to_unit(score, item, touched, items, rarity)

    # The echo: what the sessions nearest to the best new candidates say.
    if echo_items > 0 and echo_weight > 0.0:
        best = select_top(score, item, touched, scratch.chosen[: min(echo_items + q, touched)])
        terms = np.empty(echo_items, np.int32)
        weight = np.empty(echo_items, np.float64)
        speaks_for = np.empty(echo_items, np.int32)
        n = 0
        for rank in range(best):
            t = scratch.chosen[rank]
            in_session = False
            for j in range(distinct):
                if known[j] == item[t]:
                    in_session = True
            if in_session or n == echo_items:
                continue
            terms[n] = item[t]
            weight[n] = score[t]
            speaks_for[n] = _loudest(share, t, q)
            n += 1
        if n > 0:
            touched = gather(
                index, scratch, weights, rarity, steps_per_click, echo_sessions, echo_neighbours,
                terms[:n], weight[:n], np.ones(n), speaks_for, echo, touched, touched,
            )  # fmt: skip
            _to_unit(echo, item, touched, items, rarity)
            for t in range(touched):
                score[t] += echo_weight * echo[t]

    # People come back to what they have seen: a share of the whole score, by age and number of touches.
    total = 0.0
    for t in range(touched):
        total += score[t]
    if total == 0.0:
        total = 1.0
    for j in range(distinct):
        t = slot_of(slot_of_item, item, touched, known[j])
        if t == touched:
            touched += 1
            _clear_slot(scratch, t)
        prior = total * weights.revisit[back_of_known[j]] * weights.times[times[j]]
        score[t] = score[t] * weights.seen[back_of_known[j]] + prior

    found = select_top(score, item, touched, scratch.chosen[:count])
    for rank in range(found):
        t = scratch.chosen[rank]
        out_item[rank] = item[t]
        out_score[rank] = score[t]
        out_because[rank] = asks[_loudest(share, t, q)] if q > 0 else item[t]
        for j in range(distinct):
            if known[j] == item[t]:
                out_because[rank] = item[t]
    return found


@kernel
def ask_sessions(table: Addresses, query: Ints, count: int, answer: Ints) -> int:
    """:func:`query_index` with everything but the question behind ``table``: index, scratch, weights, rarity,
    sizes, and (steps per click, echo weight). Answers into ``answer`` (3, at least ``count``)."""
    index = Index(int_rows_at(table, 0), int_rows_at(table, 1), int_rows_at(table, 2), longs_at(table, 3))
    scratch = Scratch(
        ints_at(table, 4), ints_at(table, 5), ints_at(table, 6), ints_at(table, 7), ints_at(table, 8),
        doubles_at(table, 9), doubles_at(table, 10), ints_at(table, 11), int_rows_at(table, 12),
        ints_at(table, 13), ints_at(table, 14), ints_at(table, 15), doubles_at(table, 16),
        doubles_at(table, 17), double_rows_at(table, 18), ints_at(table, 19),
    )  # fmt: skip
    weights = Weights(
        doubles_at(table, 20), doubles_at(table, 21), doubles_at(table, 22), doubles_at(table, 23),
        doubles_at(table, 24), doubles_at(table, 25), doubles_at(table, 26), doubles_at(table, 27),
        doubles_at(table, 28), doubles_at(table, 29),
    )  # fmt: skip
    rarity = double_rows_at(table, 30)
    n = longs_at(table, 31)
    factors = doubles_at(table, 32)
    return query_index(
        index, scratch, weights, rarity, (n[0], n[1], n[2], n[3], n[4], n[5], n[6]), factors[0], factors[1],
        query, count, answer[0, :count], answer[1, :count].view(np.float32), answer[2, :count],
    )  # fmt: skip


@kernel
def _loudest(share: Table, slot: int, q: int) -> int:
    loudest = 0
    for j in range(1, q):
        if share[slot, j] > share[slot, loudest]:
            loudest = j
    return loudest
