"""Filters, order and diversity over the candidates of one decision in one pass; ``policy_reference.py`` says
the same in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.kernels import kernel
from opportune.recommend.source import Floats, Items

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

REASONS = (
    "bought",
    "in_session",
    "shown_elsewhere",
    "dismissed",
    "excluded",
    "denied_item",
    "current_item",
    "price",
    "other_category",
    "not_allowed_item",
    "not_allowed_category",
    "denied_category",
    "not_allowed_brand",
    "denied_brand",
    "not_listed",
    "not_available",
)
"""Why a candidate may not be shown. Its code is 1 + its place here; of two reasons the later is told."""
CODE_OF = {reason: code for code, reason in enumerate(REASONS, start=1)}

MAX_REST = 20
SHOWN, REST, CUT = 0, 1, 2
COUNTS = 3
HEAD = COUNTS + len(REASONS) + 1

_PRICE = CODE_OF["price"]
_OTHER_CATEGORY = CODE_OF["other_category"]
_NOT_LISTED = CODE_OF["not_listed"]
_NOT_AVAILABLE = CODE_OF["not_available"]
_LAST = 64


@kernel
def choose_into(
    item: Items,
    score: Floats,
    tier: Codes,
    buried: Mask,
    masked: Codes,
    named: Items,
    named_code: Codes,
    available: Mask,
    listed: Mask,
    price: Floats,
    category: Items,
    alike: Items,
    least: float,
    most: float,
    of_category: int,
    max_per: int,
    relevance: float,
    count: int,
    pins: Items,
    out: Items,
) -> None:
    """Choose at most ``count`` of the ``n`` candidates.

    ``buried`` and ``masked`` (a reason's code, 0 for none) are parallel to the candidates or empty;
    ``named`` are items that may not be shown and why. ``available`` and ``listed`` are columns of the
    catalogue, empty where they do not matter; ``least`` above ``most`` asks for no price, ``of_category`` -1
    for no category. ``alike`` is the catalogue's column that diversity goes by, with ``max_per`` of a value
    (0: no cap) or marginal relevance of weight ``relevance`` (negative: none). ``pins`` are item numbers.

    Writes to ``out``, HEAD + count + MAX_REST + n + pins long: how many are shown, how many are the best of
    the rest, how many a cap kept out, counts per reason code; the shown, the rest, the refused in order of
    their codes, and where the pins are (-1: nowhere). O(n log n + count * n).
    """
    n = len(item)
    out[:HEAD] = 0
    refused = np.zeros(n, np.int8)
    if len(named) > 0:
        size = 2
        while size < 2 * n:
            size *= 2
        table = np.zeros(size, np.int32)
        for k in range(n):
            place = (item[k] * 0x9E3779B1 >> 7) & (size - 1)
            while table[place] != 0:
                place = (place + 1) & (size - 1)
            table[place] = k + 1
        for at in range(len(named)):
            place = (named[at] * 0x9E3779B1 >> 7) & (size - 1)
            while table[place] != 0:
                k = table[place] - 1
                if item[k] == named[at]:
                    refused[k] = max(refused[k], named_code[at])
                    break
                place = (place + 1) & (size - 1)
    for k in range(n):
        i = item[k]
        if least <= most and not (price[i] >= least and price[i] <= most):
            refused[k] = max(refused[k], _PRICE)
        if of_category >= 0 and category[i] != of_category:
            refused[k] = max(refused[k], _OTHER_CATEGORY)
        if len(masked) > 0:
            refused[k] = max(refused[k], masked[k])
        if len(listed) > 0 and not listed[i]:
            refused[k] = max(refused[k], _NOT_LISTED)
        if len(available) > 0 and not available[i]:
            refused[k] = max(refused[k], _NOT_AVAILABLE)

    # The refused, in order of their codes.
    codes = out[COUNTS:HEAD]
    for k in range(n):
        codes[refused[k]] += 1
    start = np.zeros(len(codes), np.int32)
    for code in range(2, len(codes)):
        start[code] = start[code - 1] + codes[code - 1]
    gone = out[HEAD + count + MAX_REST :]
    for k in range(n):
        if refused[k] > 0:
            gone[start[refused[k]]] = k
            start[refused[k]] += 1

    # The kept, best first: the sources' before the fallbacks', buried last, ties as they were.
    order = np.empty(codes[0], np.int64)
    last = np.zeros(codes[0], np.int64)
    kept = 0
    in_order = True
    for k in range(n):
        if refused[k] == 0:
            order[kept] = k
            last[kept] = tier[k]
            if len(buried) > 0 and buried[k]:
                last[kept] += _LAST
            if kept > 0:
                before = order[kept - 1]
                if last[kept] < last[kept - 1] or (last[kept] == last[kept - 1] and score[k] > score[before]):
                    in_order = False
            kept += 1
    if not in_order:
        worst_first = np.empty(kept, np.float64)
        for k in range(kept):
            worst_first[k] = -score[order[k]]
        by_score = np.argsort(worst_first, kind="mergesort")
        order = order[by_score]
        last = last[by_score]
        order = order[np.argsort(last, kind="mergesort")]

    # Pins are found among the kept, and count towards a cap without being stopped by it.
    pin_at = out[HEAD + count + MAX_REST + n :]
    taken = np.zeros(n, np.bool_)
    pinned = 0
    for p in range(len(pins)):
        pin_at[p] = -1
        for k in range(n):
            if item[k] == pins[p] and refused[k] == 0 and not taken[k]:
                pin_at[p] = k
                taken[k] = True
                pinned += 1
                break
    places = count - pinned
    shown = 0
    if relevance >= 0.0:
        shown = _marginal_relevance(item, score, alike, order, taken, places, relevance, out[HEAD:])
    else:
        looked_at = 0
        for position in range(kept):
            if shown >= places:
                break
            k = order[position]
            if taken[k]:
                continue
            looked_at += 1
            value = alike[item[k]] if max_per > 0 else -1
            if value >= 0:
                same = 0
                for other in range(shown):
                    if alike[item[out[HEAD + other]]] == value:
                        same += 1
                for p in range(len(pins)):
                    if pin_at[p] >= 0 and alike[item[pin_at[p]]] == value:
                        same += 1
                if same >= max_per:
                    continue
            out[HEAD + shown] = k
            shown += 1
        out[CUT] = looked_at - shown
    for k in out[HEAD : HEAD + shown]:
        taken[k] = True
    rest = 0
    for position in range(min(kept, count + MAX_REST)):
        if rest < MAX_REST and not taken[order[position]]:
            out[HEAD + count + rest] = order[position]
            rest += 1
    out[SHOWN] = shown
    out[REST] = rest


@kernel
def _marginal_relevance(
    item: Items,
    score: Floats,
    alike: Items,
    order: npt.NDArray[np.int64],
    taken: Mask,
    places: int,
    relevance: float,
    shown: Items,
) -> int:
    """``diversity.marginal_relevance`` of the candidates in ``order`` that are not taken."""
    n = len(order)
    value = np.empty(n, np.float32)
    like = np.zeros(n, np.bool_)
    left = 0
    for at in range(n):
        value[at] = np.float32(relevance) * score[order[at]]
        if taken[order[at]]:
            value[at] = -np.inf
        else:
            left += 1
    penalty = np.float32(1.0 - relevance)
    found = min(places, left)
    for rank in range(found):
        best = -1
        best_value = np.float32(-np.inf)
        for at in range(n):
            worth = value[at] - penalty if like[at] else value[at]
            if worth > best_value:
                best = at
                best_value = worth
        shown[rank] = order[best]
        value[best] = -np.inf
        code = alike[item[order[best]]]
        if code >= 0:
            for at in range(n):
                if alike[item[order[at]]] == code:
                    like[at] = True
    return found
