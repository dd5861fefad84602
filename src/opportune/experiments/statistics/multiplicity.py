"""Many questions at once: p-values adjusted so that few, or none, of the answers are luck."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false alarm (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    n, highest = len(ps), 0.0
    found = [1.0] * n
    for rank, i in enumerate(sorted(range(n), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (n - rank) * ps[i]))
        found[i] = highest
    return found


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the share of false alarms among the alarms (Benjamini & Hochberg, 1995).

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    n, lowest = len(ps), 1.0
    found = [1.0] * n
    for rank, i in reversed(list(enumerate(sorted(range(n), key=ps.__getitem__), start=1))):
        lowest = min(lowest, ps[i] * n / rank)
        found[i] = lowest
    return found
