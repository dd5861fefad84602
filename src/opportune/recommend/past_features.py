"""What a ranker knows of a candidate from the person's earlier visits."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.past import AGE_S, AGO, BOUGHT_S, KIND, TOUCHES, VISITS, Past
from opportune.recommend.taste import believe, taste_of

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

FROM_THE_PAST: tuple[tuple[str, str], ...] = (
    ("past_items", "items remembered of earlier visits"),
    ("past_away", "log of the hours since the last of them"),
    ("past_ago", "visits since the candidate was last touched"),
    ("past_age", "log of the hours since then"),
    ("past_touches", "touches of it in earlier visits"),
    ("past_visits", "earlier visits that touched it"),
    ("past_kind", "the strongest kind of those touches; -1 dismissed"),
    ("past_bought", "log of the hours since the person last bought it"),
    ("past_category", "share of the items of earlier visits that have its category"),
    ("past_brand", "share of the items of earlier visits that have its brand"),
    ("past_price", "log of its price against the mean price of the items of earlier visits"),
    ("taste_mean", "what the person's own model over item vectors thinks of it"),
    ("taste_sd", "how unsure it is"),
)
"""Empty (NaN) for who has no earlier visits, in training, evaluation and service alike."""


@kernel
def fill_past(
    past: Past, vector: Floats, price: Floats, category: Ints, brand: Ints, candidate: Ints, out: Floats
) -> None:
    """Fill ``out`` (len(FROM_THE_PAST), room), which is NaN before, for the n candidates. Nothing to do for a
    new person; 15 us for 100 candidates and 16 items of the past."""
    n = len(candidate)
    m = len(past.item)
    if m == 0:
        return
    known = past.known
    away = known[AGE_S].min()
    size = 4
    while size < 2 * m:
        size *= 2
    place_of = np.full(size, -1, np.int32)
    for at in range(m):
        place = (past.item[at] * 0x9E3779B1 >> 7) & (size - 1)
        while place_of[place] >= 0:
            place = (place + 1) & (size - 1)
        place_of[place] = at
    total, priced = 0.0, 0
    for at in range(m):
        i = past.item[at]
        if i < len(price) and price[i] > 0.0:
            total += price[i]
            priced += 1
    for row in range(n):
        c = candidate[row]
        out[0, row] = m
        out[1, row] = _hours(away)
        out[4, row] = 0.0
        out[5, row] = 0.0
        place = (c * 0x9E3779B1 >> 7) & (size - 1)
        while place_of[place] >= 0:
            at = place_of[place]
            if past.item[at] == c:
                if known[AGO, at] > 0.0:
                    out[2, row] = known[AGO, at]
                out[3, row] = _hours(known[AGE_S, at])
                out[4, row] = known[TOUCHES, at]
                out[5, row] = known[VISITS, at]
                out[6, row] = known[KIND, at]
                if known[BOUGHT_S, at] >= 0.0:
                    out[7, row] = _hours(known[BOUGHT_S, at])
                break
            place = (place + 1) & (size - 1)
        out[8, row] = _share(category, past.item, c)
        out[9, row] = _share(brand, past.item, c)
        if priced > 0 and 0 <= c < len(price) and price[c] > 0.0:
            out[10, row] = math.log(price[c] * priced / total)
    taste = taste_of(vector, past)
    if taste.evidence:
        believe(vector, taste, candidate, out[11:13])


@kernel
def _hours(seconds: float) -> float:
    return math.log1p(seconds / 3600.0)


@kernel
def _share(group: Ints, items: Ints, candidate: int) -> float:
    if candidate < 0 or candidate >= len(group) or group[candidate] < 0:
        return np.nan
    alike = 0
    for at in range(len(items)):
        alike += items[at] < len(group) and group[items[at]] == group[candidate]
    return alike / len(items)
