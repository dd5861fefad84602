"""The one algebra: everything that is learnt from events is a fold that combines.

After Algebird / Summingbird (Boykin et al., VLDB 2014), made small: the same definition runs one event at a
time, in bulk over history, and partially per worker and then combined.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from opportune.clock import Millis
from opportune.events.event import Event

S = TypeVar("S")


class Fold(Protocol[S]):
    """``combine`` is associative and commutative, ``zero()`` is neutral, and folding is independent of the
    order in which events arrive. ``opportune.testing.folds`` holds every implementation to these laws."""

    def zero(self) -> S: ...

    def fold(self, state: S, event: Event) -> S:
        """One event in; may reuse the state it was given."""
        ...

    def combine(self, a: S, b: S) -> S:
        """The state of both histories together; leaves ``a`` and ``b`` as they were."""
        ...

    def read(self, state: S, now: Millis) -> Any:
        """What a decision sees; plain JSON values."""
        ...
