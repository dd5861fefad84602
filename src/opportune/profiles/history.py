"""What somebody did before the present visit, item by item, as far as their profile remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opportune.clock import Millis
from opportune.profiles.leaf import Touch
from opportune.profiles.session import INACTIVITY

HISTORY = "history"
"""Its name among the features that a ranker reads and a decision record keeps."""
MAX_HISTORY = 64
"""Distinct items kept, those touched last."""
AGAINST, VIEW, CART, BUY = -1, 0, 1, 2
_KINDS = {"view": VIEW, "cart": CART, "buy": BUY}
COLUMNS = ("item", "kind", "touches", "visits", "ago", "last", "bought")

_LAST = COLUMNS.index("last")


def history_before(
    touches: Sequence[Touch],
    bought: Mapping[str, Millis],
    dismissed: Mapping[str, Millis],
    before: Millis,
) -> dict[str, list[Any]]:
    """Columns, one row per item, the one touched last first; empty for somebody new.

    ``touches`` (oldest first), ``bought`` and ``dismissed`` (item -> latest time) are those of a leaf or of a
    person; only what is earlier than ``before``, the beginning of the present visit, counts. ``kind`` is
    the strongest touch (:data:`AGAINST` where the item was dismissed and never bought), ``touches`` and
    ``visits`` count those remembered, ``ago`` is how many visits ago the last one was (1: the one before; 0
    where only the purchase or dismissal is remembered), ``last`` and ``bought`` are times in milliseconds (0:
    never bought). A pure function of folds that combine, so merging people merges histories.

    O(touches + purchases), at most 64 and 500: 10 us for 20 touches.
    """
    rows: dict[str, list[Any]] = {}
    visit, newer_id, newer_time = 0, "", before
    for touch in reversed(touches):
        time = touch.time
        if time >= before or touch.kind not in _KINDS:
            continue
        session_id = touch.session_id
        # Where a visit ends is where an id changes, or half an hour passes without one.
        if not visit or session_id != newer_id or (not session_id and newer_time - time > INACTIVITY):
            visit += 1
        newer_id, newer_time = session_id, time
        row = rows.get(touch.item_id)
        if row is None:
            rows[touch.item_id] = [touch.item_id, _KINDS[touch.kind], 1, 1, visit, time, 0, visit]
            continue
        row[2] += 1
        row[1] = max(row[1], _KINDS[touch.kind])
        if row[7] != visit:
            row[3] += 1
            row[7] = visit
    for item, time in _newest(bought):
        if time < before:
            row = rows.setdefault(item, [item, BUY, 0, 0, 0, time, 0, 0])
            row[1], row[6] = BUY, time
    for item, time in _newest(dismissed):
        if time < before:
            row = rows.setdefault(item, [item, AGAINST, 0, 0, 0, time, 0, 0])
            if not row[6]:
                row[1], row[_LAST] = AGAINST, max(row[_LAST], time)
    if not rows:
        return {}
    kept = sorted(rows.values(), key=_newest_first)[:MAX_HISTORY]
    return {name: [row[at] for row in kept] for at, name in enumerate(COLUMNS)}


def _newest(times: Mapping[str, Millis]) -> Iterable[tuple[str, Millis]]:
    """Those among which the newest are: as many as are kept, and whatever is as old as the oldest of them."""
    if len(times) <= MAX_HISTORY:
        return times.items()
    since = sorted(times.values())[-MAX_HISTORY]
    return [(item, time) for item, time in times.items() if time >= since]


def _newest_first(row: list[Any]) -> tuple[Millis, str]:
    return -row[_LAST], row[0]
