"""Before a worker folds anything of a partition it looks who has folded it: see ``lineage.py``."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from quixstreams import message_context
from quixstreams.state import State

from opportune.streams import lineage
from opportune.streams.lineage import FoldVersion, Replaced

log = logging.getLogger("opportune.streams")


class Gate:
    """Lets a worker fold the partitions that no newer version of the folds has taken over.

    It looks once per partition and commit: with the commit a partition may go and come back.
    """

    def __init__(self, version: FoldVersion) -> None:
        self._version = version
        self._open: set[bytes] = set()
        self.refused: Replaced | None = None
        """Why nothing is folded until the next commit, which must not happen."""

    def admits(self, key: bytes, state: State[bytes, Any]) -> bool:
        """Whether a message of this partition may be folded now."""
        if self.refused is not None:
            return False
        if key in self._open:
            return True
        versions = lineage.read(state.get_bytes(lineage.KEY))
        try:
            if lineage.takes_over(versions, self._version):
                context = message_context()
                mine = msgspec.structs.replace(self._version, since=context.offset)
                state.set_bytes(lineage.KEY, lineage.written([*versions, mine]))
                log.info("partition %d from message %d on: %s", context.partition, context.offset, mine)
        except Replaced as error:
            self.refused = error
            return False
        self._open.add(key)
        return True

    def close(self) -> None:
        """A commit has been made or given up."""
        self._open.clear()
        self.refused = None
