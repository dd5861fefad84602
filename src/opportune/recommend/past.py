"""The person's earlier visits as a query carries them: what :mod:`opportune.profiles.history` remembers, as
arrays by item number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.profiles.history import HISTORY

KIND, TOUCHES, VISITS, AGO, AGE_S, BOUGHT_S = range(6)
"""The rows of :attr:`Past.known`."""

_ROWS = ("kind", "touches", "visits", "ago", "last", "bought")


class Past(NamedTuple):
    """``item`` (n,): distinct item numbers, the one touched last first. ``known`` (6, n): the strongest kind
    of touch (-1: dismissed), touches and visits remembered, how many visits ago the last one was (0: not
    remembered), seconds since the last touch, seconds since it was bought (NaN: never)."""

    item: npt.NDArray[np.int32]
    known: npt.NDArray[np.float32]


NO_PAST = Past(np.zeros(0, np.int32), np.zeros((6, 0), np.float32))


def past_of(features: Mapping[str, Any], number: Callable[[str], int], now: Millis) -> Past:
    """The :data:`~opportune.profiles.history.HISTORY` among a person's features as of ``now``; items that the
    catalogue does not ``number`` are left out. 12 us for 20 items."""
    history = features.get(HISTORY)
    if not history:
        return NO_PAST
    numbers = [number(item_id) for item_id in history["item"]]
    known = np.array([history[name] for name in _ROWS], np.float64)
    never = known[BOUGHT_S] <= 0.0
    known[AGE_S:] = np.maximum(now - known[AGE_S:], 0.0) / 1000.0
    known[BOUGHT_S, never] = np.nan
    item = np.array(numbers, np.int32)
    if min(numbers) < 0:
        item, known = item[item >= 0], known[:, item >= 0]
    return Past(item, known.astype(np.float32, order="C"))
