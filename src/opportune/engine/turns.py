"""Long work on the engine's thread, taken in turns with everything else.

Such work is a generator: what stands between two ``yield`` runs on the engine's thread and is short. It
yields None to let others go first, or a function that needs no engine and is to be run in another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Turn = Callable[[], object] | None
Turns = Iterator[Turn]

TURN_S = 0.001
"""How long a turn may take, more or less: what a post may wait for it."""


def at_once(turns: Turns) -> None:
    """All of it here and now: for who has nobody else to serve."""
    for elsewhere in turns:
        if elsewhere is not None:
            elsewhere()
