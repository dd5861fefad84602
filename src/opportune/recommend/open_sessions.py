"""What sessions that may still go on have touched lately, for models that describe new items by company."""

from __future__ import annotations

from collections import OrderedDict


class OpenSessions:
    """The newest ``touches`` of each of the ``sessions`` that were touched last. O(1) a touch."""

    def __init__(self, sessions: int = 20_000, touches: int = 20) -> None:
        self._sessions = sessions
        self._touches = touches
        self._open: OrderedDict[int, list[tuple[int, int]]] = OrderedDict()

    def add(self, session: int, item: int, kind: int) -> None:
        before = self._open.get(session)
        if before is None:
            before = self._open[session] = []
            if len(self._open) > self._sessions:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(session)
        before.append((item, kind))
        del before[: -self._touches]

    def before(self, session: int) -> list[tuple[int, int]]:
        """(item, kind) of the session so far, oldest first; nothing where it is not known."""
        return self._open.get(session, [])
