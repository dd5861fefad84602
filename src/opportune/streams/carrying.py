"""Erasures of a folder carried out in turns beside what follows Kafka, without a server's loop."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from opportune.engine.erasing import Erasing
from opportune.engine.turns import Turns
from opportune.errors import OpportuneError

log = logging.getLogger("opportune.privacy")


class Carrying:
    """One erasure after the other; :meth:`step` on the engine's thread, what needs no engine in another."""

    def __init__(self) -> None:
        self._waiting: deque[Erasing] = deque()
        self._turns: Turns | None = None
        self._elsewhere: Future[object] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="opportune-erasing")

    def add(self, erasing: Erasing) -> None:
        """One that was begun."""
        self._waiting.append(erasing)

    def step(self) -> bool:
        """One turn; true while there is another one to take now."""
        if not self._waiting or (self._elsewhere is not None and not self._elsewhere.done()):
            return False
        erasing = self._waiting[0]
        try:
            if self._elsewhere is not None:
                done, self._elsewhere = self._elsewhere, None
                done.result()
            if self._turns is None:
                self._turns = erasing.turns()
            turn = next(self._turns)
        except StopIteration:
            self._next()
            return bool(self._waiting)
        except (OSError, OpportuneError) as error:
            log.error("erasure %s is not finished: %s", erasing.id, error)
            erasing.failure = str(error)
            self._next()
            return bool(self._waiting)
        if turn is None:
            return True
        self._elsewhere = self._pool.submit(turn)
        return False

    def close(self) -> None:
        """What is left is finished by the next start."""
        self._pool.shutdown(wait=True)

    def _next(self) -> None:
        self._waiting.popleft()
        self._turns = None
