"""How long one turn of the event loop has been answering requests: the measure of overload.

What arrived while the loop was busy is read in its next turn. At twice the capacity every turn brings twice
the work of the one before, and latency grows without end. So once a turn has answered for ``limit_s``, the
rest of what it read is refused, which costs a tenth of answering: nobody waits for much longer than two such
turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from opportune.errors import Overloaded

FEW = 8
"""Requests that a turn answers in any case: one that is slow by itself is no overload."""

POSTS_S = 0.0005
"""How long posts are taken at a stretch before decisions get their turn."""

POST_WAITS_S = 0.25
"""How long a post may wait for its turn; while the oldest waits longer, new ones are refused with 429."""


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


class PostLine:
    """Decisions go first: a person waits for them, and for a post nobody does.

    Posts begin as they are read for :data:`POSTS_S` in a turn of the loop; the rest of what the turn read
    stands in line and is begun in order, as long at a stretch, between turns that answer the decisions that
    have come meanwhile. So a decision waits for no more than one such stretch, and where there is too much to
    do it is the posts that wait, and then are refused. Belongs to the loop's thread. 0.2 us a post while
    there is no line.
    """

    __slots__ = ("_begun", "_limit_s", "_line", "_patience_s", "_since")

    def __init__(self, limit_s: float = POSTS_S, patience_s: float = POST_WAITS_S) -> None:
        self._limit_s = limit_s
        self._patience_s = patience_s
        self._line: deque[tuple[float, Callable[[], None]]] = deque()
        self._begun = False
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._line)

    def may_begin(self, now: float) -> bool:
        """Whether a post that was read at ``now`` (``perf_counter``) need not stand in line."""
        if self._begun:
            return not self._line and now - self._since < self._limit_s
        self._begun = True
        self._since = now
        asyncio.get_running_loop().call_soon(self._next_turn)
        return True

    def stand(self, now: float, begin: Callable[[], None]) -> None:
        """Call ``begin`` when it is its turn. Raises :class:`Overloaded` when that would take long."""
        if self._line and now - self._line[0][0] > self._patience_s:
            raise Overloaded("more posts are arriving than can be taken", retry_after_s=1)
        self._line.append((now, begin))

    def _next_turn(self) -> None:
        line = self._line
        if not line:
            self._begun = False
            return
        end = perf_counter() + self._limit_s
        while line:
            line.popleft()[1]()
            if perf_counter() > end:
                break
        asyncio.get_running_loop().call_soon(self._next_turn)
