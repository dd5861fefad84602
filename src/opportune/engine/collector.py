"""Python's cycle collector, kept away from loops that make no cycles.

Nothing that the engine makes of an event refers to itself, yet every few hundred new objects make the
collector walk the young ones, and now and then everything: a third of the cost of an event. A process that is
ours (server, commands) freezes what it has loaded and raises the thresholds once. A process that merely uses
the library keeps its own settings: there the collector only waits until a piece of work is done.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection inside; afterwards as it was. For work that ends soon: a commit group, a replay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
