"""The features of the learned ranker, by name, and the kernel that computes all of them for a list.

Features speak of a candidate in a session. What is not known is NaN, which trees take as it is: a shop
without time stamps, prices or item vectors has the same columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.past import Past
from opportune.recommend.past_features import FROM_THE_PAST, fill_past
from opportune.recommend.rank_signals import LATELY, LONG, NOW, Signals, pair_weight, touches_now

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

SOURCES = ("blend", "session_knn", "covisitation", "content", "sequence")
"""Whose scores are features: the blend, which orders the candidates, and sources by their permanent name. The
sequence model scores every candidate, whoever proposed it."""
LAST_ITEMS = 8
"""Distinct items of the session, newest first, that candidates are compared with."""

CONTEXT: tuple[tuple[str, str], ...] = (
    ("session_length", "touches of the session"),
    ("distinct_items", "distinct items of the session"),
    ("repeat_share", "share of the touches that returned to an item of the session"),
    ("last_is_return", "whether the last touch returned to an item of the session"),
    ("last_touches", "log of the last item's touches, long-term"),
    ("coherence", "vector similarity of the last two distinct items"),
    ("best_raw_score", "log of the blend's best score, before scaling"),
    ("top_mass", "share of the blend's score that its best five have"),
    ("seen_mass", "share of the blend's score on items of the session"),
    ("dwell_s", "seconds between the last two touches"),
    ("session_s", "seconds from the first touch to the last"),
    ("last_kind", "how the last item was touched: view 0, cart 1, buy 2"),
)
CANDIDATE: tuple[tuple[str, str], ...] = (
    ("seen_times", "touches of the candidate in the session"),
    ("seen_back", "steps back to its last touch in the session"),
    ("seen_first_back", "steps back to its first touch in the session"),
    ("seen_kind", "the strongest kind of its touches in the session"),
    ("seen_dwell_s", "the longest stay on it in the session, in seconds"),
    ("touches_now", "log of its touches, half-life 8 thousand touches of the shop"),
    ("touches_lately", "log of its touches, half-life 65 thousand"),
    ("touches_long", "log of its touches, half-life 524 thousand"),
    ("trend_now", "log of touches now against lately, both per touch of the shop"),
    ("trend_lately", "log of touches lately against long-term, likewise"),
    ("idle", "log of the shop's touches since its last one"),
    ("age", "log of the shop's touches since its first one"),
    ("return_rate", "share of its touches that were returns within a session"),
    ("next_of_last", "how often it came directly after the last item, per touch that something came after"),
    ("next_of_previous", "the same for the item before the last"),
    ("next_of_session", "the same summed over the last items, less by distance"),
    ("leads_to_last", "how often the last item came directly after it, per touch that something came after"),
    ("near_last", "co-occurrence with the last item, cosine"),
    ("near_previous", "co-occurrence with the item before the last"),
    ("near_session", "co-occurrence with the last items, less by distance"),
    ("near_most", "the largest co-occurrence with one of the last items"),
    ("near_count", "how many of the last items it co-occurred with"),
    ("vector_last", "vector similarity to the last item"),
    ("vector_session", "vector similarity to the mean of the last items, less by distance"),
    ("vector_most", "the largest vector similarity to one of the last items"),
    ("vector_least", "the smallest one"),
    ("price_ratio", "log of its price against the mean of the session's"),
    ("same_category", "share of the last items that have its category"),
    ("same_brand", "share of the last items that have its brand"),
)
BY_SOURCE: tuple[tuple[str, str], ...] = (
    ("score", "score of the source, its best being 1"),
    ("log_score", "log of that"),
    ("rank", "place in the source's answer"),
)
CONTEXT_COLUMNS = len(CONTEXT)
FIRST_OF_PAST = len(CONTEXT) + len(CANDIDATE)
FIRST_OF_SOURCES = FIRST_OF_PAST + len(FROM_THE_PAST)
COLUMNS = FIRST_OF_SOURCES + len(SOURCES) * len(BY_SOURCE)


FEATURES: dict[str, str] = {
    **dict(CONTEXT),
    **dict(CANDIDATE),
    **dict(FROM_THE_PAST),
    **{f"{source}_{name}": f"{text} ({source})" for source in SOURCES for name, text in BY_SOURCE},
}
"""Every column in order, with its meaning."""


class ItemTable(NamedTuple):
    """What is known of items beside their touches; each array may be shorter than the catalogue, or empty.

    ``vector`` (items, d) has rows of length 1 or 0; ``price``; ``category``, ``brand``: numbers, -1 unknown.
    """

    vector: Floats
    price: Floats
    category: Ints
    brand: Ints


def no_items() -> ItemTable:
    return ItemTable(
        np.zeros((0, 1), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    )


@kernel
def fill_features(
    signals: Signals,
    items: ItemTable,
    session: Ints,
    kind: npt.NDArray[np.int8],
    age_s: Floats,
    past: Past,
    candidate: Ints,
    scores: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` (COLUMNS, room) for the n candidates in its first n columns.

    ``session`` (oldest first), ``kind``, ``age_s`` (NaN: no times) and ``past`` as in
    :class:`~opportune.recommend.source.Query`; ``scores`` (len(SOURCES), n): what each source gave each
    candidate, 0 or NaN where it did not propose it. O(n * LAST_ITEMS * d + LAST_ITEMS * WIDTH), about 60 us
    for 100 candidates, and 15 us more for somebody with a past.
    """
    n = len(candidate)
    length = len(session)
    for column in range(COLUMNS):
        for row in range(n):
            out[column, row] = np.nan
    if length == 0:
        return

    # The last distinct items, newest first.
    last = np.empty(LAST_ITEMS, np.int32)
    q = 0
    distinct = 0
    for back in range(length):
        i = session[length - 1 - back]
        first = True
        for newer in range(back):
            if session[length - 1 - newer] == i:
                first = False
                break
        if first:
            distinct += 1
            if q < LAST_ITEMS and 0 <= i < len(signals.last):
                last[q] = i
                q += 1
    if q == 0:
        return

    _context(signals, items, session, kind, age_s, candidate, scores, last[:q], distinct, out)
    _seen(session, kind, age_s, candidate, out[CONTEXT_COLUMNS : CONTEXT_COLUMNS + 5])
    _counts(signals, candidate, out[CONTEXT_COLUMNS + 5 : CONTEXT_COLUMNS + 13])
    _together(signals, last[:q], candidate, out[CONTEXT_COLUMNS + 13 : CONTEXT_COLUMNS + 22])
    _vectors(items.vector, last[:q], candidate, out[CONTEXT_COLUMNS + 22 : CONTEXT_COLUMNS + 26])
    _attributes(items, last[:q], candidate, out[CONTEXT_COLUMNS + 26 : FIRST_OF_PAST])
    fill_past(
        past,
        items.vector,
        items.price,
        items.category,
        items.brand,
        candidate,
        out[FIRST_OF_PAST:FIRST_OF_SOURCES],
    )
    for source in range(len(SOURCES)):
        first_column = FIRST_OF_SOURCES + 3 * source
        _source(scores[source], out[first_column : first_column + 3])


@kernel
def _context(
    signals: Signals,
    items: ItemTable,
    session: Ints,
    kind: npt.NDArray[np.int8],
    age_s: Floats,
    candidate: Ints,
    scores: Floats,
    last: Ints,
    distinct: int,
    out: Floats,
) -> None:
    n = len(candidate)
    length = len(session)
    value = np.full(CONTEXT_COLUMNS, np.float32(np.nan))
    value[0] = length
    value[1] = distinct
    value[2] = (length - distinct) / length
    value[3] = 0.0
    for at in range(length - 1):
        if session[at] == session[length - 1]:
            value[3] = 1.0
    value[4] = math.log1p(touches_now(signals, last[0], LONG))
    if len(last) > 1:
        value[5] = _similarity(items.vector, last[0], last[1])
    best, total, seen = 0.0, 0.0, 0.0
    top = np.zeros(5, np.float64)
    for row in range(n):
        part = scores[0, row]
        if not part > 0.0:
            continue
        best = max(best, part)
        total += part
        low = 0
        for at in range(1, 5):
            if top[at] < top[low]:
                low = at
        top[low] = max(top[low], part)
        for at in range(length):
            if session[at] == candidate[row]:
                seen += part
                break
    if best > 0.0:
        value[6] = math.log(best)
        value[7] = top.sum() / total
        value[8] = seen / total
    if length > 1:
        value[9] = age_s[length - 2] - age_s[length - 1]
    value[10] = age_s[0] - age_s[length - 1]
    value[11] = kind[length - 1]
    for column in range(CONTEXT_COLUMNS):
        for row in range(n):
            out[column, row] = value[column]


@kernel
def _seen(session: Ints, kind: npt.NDArray[np.int8], age_s: Floats, candidate: Ints, out: Floats) -> None:
    length = len(session)
    for row in range(len(candidate)):
        times = 0
        for at in range(length):
            if session[at] != candidate[row]:
                continue
            back = length - 1 - at
            if times == 0:
                out[2, row] = back
                out[3, row] = kind[at]
            out[1, row] = back
            out[3, row] = max(out[3, row], kind[at])
            times += 1
            if at + 1 < length:
                stay = age_s[at] - age_s[at + 1]
                if not stay <= out[4, row]:
                    out[4, row] = stay
        out[0, row] = times


@kernel
def _counts(signals: Signals, candidate: Ints, out: Floats) -> None:
    clock = signals.state[0]
    for row in range(len(candidate)):
        i = candidate[row]
        if i < 0 or i >= len(signals.last) or signals.last[i] == 0:
            continue
        now = touches_now(signals, i, NOW)
        lately = touches_now(signals, i, LATELY)
        long = touches_now(signals, i, LONG)
        out[0, row] = math.log1p(now)
        out[1, row] = math.log1p(lately)
        out[2, row] = math.log1p(long)
        out[3, row] = math.log((now + 0.5) / (lately / 8.0 + 0.5))
        out[4, row] = math.log((lately + 0.5) / (long / 8.0 + 0.5))
        out[5, row] = math.log1p(float(clock - signals.last[i]))
        out[6, row] = math.log1p(float(clock - signals.born[i]))
        out[7, row] = signals.returned[i] / (long + 2.0)


@kernel
def _together(signals: Signals, last: Ints, candidate: Ints, out: Floats) -> None:
    """Transitions and co-occurrence with the last items. The rows of the last items are walked, and the
    candidates found through a hash table: a tenth of the work of looking every candidate up in every row."""
    n = len(candidate)
    q = len(last)
    size = 4
    while size < 2 * n:
        size *= 2
    row_of = np.full(size, -1, np.int32)
    touched = np.ones(n, np.float64)
    for row in range(n):
        c = candidate[row]
        if c < 0 or c >= len(signals.last):
            continue
        place = (c * 0x9E3779B1 >> 7) & (size - 1)
        while row_of[place] >= 0:
            place = (place + 1) & (size - 1)
        row_of[place] = row
        touched[row] = max(touches_now(signals, c, LONG), 1.0)
        for column in range(9):
            out[column, row] = 0.0
        back = pair_weight(signals.next_item, signals.next_weight, c, last[0]) if c != last[0] else 0.0
        out[3, row] = back / (signals.followed[c] + 1.0)
    fade = 1.0
    for j in range(q):
        a = last[j]
        popular = max(touches_now(signals, a, LONG), 1.0)
        for at in range(signals.next_item.shape[1]):
            other = signals.next_item[a, at] - 1
            if other < 0:
                break
            row = _row_of(row_of, candidate, other)
            if row >= 0:
                after = signals.next_weight[a, at] / (signals.followed[a] + 1.0)
                out[2, row] += fade * after
                if j < 2:
                    out[j, row] = after
        for at in range(signals.near_item.shape[1]):
            other = signals.near_item[a, at] - 1
            if other < 0:
                break
            row = _row_of(row_of, candidate, other)
            if row >= 0 and signals.near_weight[a, at] > 0.0:
                cosine = signals.near_weight[a, at] / math.sqrt(touched[row] * popular)
                if j < 2:
                    out[4 + j, row] = cosine
                out[6, row] += fade * cosine
                out[7, row] = max(out[7, row], cosine)
                out[8, row] += 1.0
        fade *= 0.7


@kernel
def _row_of(row_of: Ints, candidate: Ints, item: int) -> int:
    size = len(row_of)
    place = (item * 0x9E3779B1 >> 7) & (size - 1)
    while row_of[place] >= 0:
        if candidate[row_of[place]] == item:
            return int(row_of[place])
        place = (place + 1) & (size - 1)
    return -1


@kernel
def _similarity(vector: Floats, a: int, b: int) -> float:
    """Cosine of two items' vectors, NaN where one has none."""
    if a < 0 or b < 0 or a >= len(vector) or b >= len(vector):
        return np.nan
    total = 0.0
    for d in range(vector.shape[1]):
        total += vector[a, d] * vector[b, d]
    return total if total != 0.0 else np.nan


@kernel
def _vectors(vector: Floats, last: Ints, candidate: Ints, out: Floats) -> None:
    """Similarities to all last items at once; those to their mean are a sum of them."""
    d = vector.shape[1]
    q = len(last)
    lasts = np.zeros((d, LAST_ITEMS), np.float32)
    weight = np.zeros(LAST_ITEMS, np.float32)
    known = np.zeros(LAST_ITEMS, np.bool_)
    mean = np.zeros(d, np.float32)
    for j in range(q):
        if not 0 <= last[j] < len(vector):
            continue
        weight[j] = 0.7**j
        for k in range(d):
            value = vector[last[j], k]
            lasts[k, j] = value
            mean[k] += weight[j] * value
            known[j] |= value != 0.0
    norm = 0.0
    for k in range(d):
        norm += mean[k] * mean[k]
    if not norm > 0.0:
        return
    norm = math.sqrt(norm)
    dots = np.empty(LAST_ITEMS, np.float32)
    for row in range(len(candidate)):
        c = candidate[row]
        if c < 0 or c >= len(vector):
            continue
        for j in range(LAST_ITEMS):
            dots[j] = 0.0
        blank = True
        for k in range(d):
            value = vector[c, k]
            blank = blank and value == 0.0
            for j in range(LAST_ITEMS):
                dots[j] += value * lasts[k, j]
        if blank:
            continue
        session = 0.0
        for j in range(q):
            session += weight[j] * dots[j]
            if last[j] == c or not known[j]:
                continue
            if j == 0:
                out[0, row] = dots[j]
            if not dots[j] <= out[2, row]:
                out[2, row] = dots[j]
            if not dots[j] >= out[3, row]:
                out[3, row] = dots[j]
        out[1, row] = session / norm


@kernel
def _attributes(items: ItemTable, last: Ints, candidate: Ints, out: Floats) -> None:
    price, category, brand = items.price, items.category, items.brand
    total, priced = 0.0, 0
    for j in range(len(last)):
        if last[j] < len(price) and price[last[j]] > 0.0:
            total += price[last[j]]
            priced += 1
    for row in range(len(candidate)):
        c = candidate[row]
        if c < 0:
            continue
        if priced > 0 and c < len(price) and price[c] > 0.0:
            out[0, row] = math.log(price[c] * priced / total)
        if c < len(category) and category[c] >= 0:
            alike = 0
            for j in range(len(last)):
                alike += last[j] < len(category) and category[last[j]] == category[c]
            out[1, row] = alike / len(last)
        if c < len(brand) and brand[c] >= 0:
            alike = 0
            for j in range(len(last)):
                alike += last[j] < len(brand) and brand[last[j]] == brand[c]
            out[2, row] = alike / len(last)


@kernel
def _source(score: Floats, out: Floats) -> None:
    n = len(score)
    best = 0.0
    for row in range(n):
        if score[row] > best:
            best = score[row]
    if not best > 0.0:
        return
    order = np.argsort(-score)  # NaN last
    for place in range(n):
        row = order[place]
        if not score[row] > 0.0:
            continue
        out[0, row] = score[row] / best
        out[1, row] = math.log(score[row] / best)
        out[2, row] = place + 1
