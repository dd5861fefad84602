"""The person's earlier visits as a query carries them: what :mod:`opportune.profiles.history` remembers, as
arrays by item number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.profiles.history import COLUMNS, HISTORY

KIND, TOUCHES, VISITS, AGO, AGE_S, BOUGHT_S = range(6)
"""The rows of :attr:`Past.known`."""


class Past(NamedTuple):
    """``item`` (n,): distinct item numbers, the one touched last first. ``known`` (6, n): the strongest kind
    of touch (-1: dismissed), touches and visits remembered, how many visits ago the last one was (0: not
    remembered), seconds since the last touch, seconds since it was bought (NaN: never)."""

    item: npt.NDArray[np.int32]
    known: npt.NDArray[np.float32]


NO_PAST = Past(np.zeros(0, np.int32), np.zeros((6, 0), np.float32))


def past_of(features: Mapping[str, Any], number: Callable[[str], int], now: Millis) -> Past:
    """The :data:`~opportune.profiles.history.HISTORY` among a person's features as of ``now``; items that the
    catalogue does not ``number`` are left out. 8 us for 16 items."""
    history = features.get(HISTORY)
    if not history:
        return NO_PAST
    numbers: list[int] = []
    rows: list[tuple[float, ...]] = []
    columns = [history[name] for name in COLUMNS]
    for item_id, kind, touches, visits, ago, last, bought in zip(*columns, strict=True):
        found = number(item_id)
        if found >= 0:
            since_bought = max(now - bought, 0) / 1000 if bought > 0 else math.nan
            numbers.append(found)
            rows.append((kind, touches, visits, ago, max(now - last, 0) / 1000, since_bought))
    if not rows:
        return NO_PAST
    # Two calls of numpy, whose cold code costs a decision more than the loop does.
    known = np.array([*zip(*rows, strict=True)], np.float32)
    return Past(np.array(numbers, np.int32), known)
