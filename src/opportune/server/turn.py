"""How long one turn of the event loop has been answering requests: the measure of overload.

What arrived while the loop was busy is read in its next turn. At twice the capacity every turn brings twice
the work of the one before, and latency grows without end. So once a turn has answered for ``limit_s``, the
rest of what it read is refused, which costs a tenth of answering: nobody waits for much longer than two such
turns.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

FEW = 8
"""Requests that a turn answers in any case: one that is slow by itself is no overload."""


class LoopTurn:
    """Belongs to the loop's thread. About 0.2 us a request."""

    __slots__ = ("_begun", "_limit_s", "_since")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._begun = 0
        self._since = 0.0

    def is_over(self) -> bool:
        """Count one more request; whether this turn has had its time."""
        if not self._begun:
            # Callbacks run after everything that this turn read.
            asyncio.get_running_loop().call_soon(self._end)
            self._since = perf_counter()
        self._begun += 1
        return self._begun > FEW and perf_counter() - self._since > self._limit_s

    def _end(self) -> None:
        self._begun = 0
