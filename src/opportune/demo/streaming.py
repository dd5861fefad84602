"""Loading the year of orders while the shop is open already: the catalogue first, then order by order between
requests, oldest first, as it happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

from opportune.clock import Millis
from opportune.demo.load import BATCH, SOURCE, catalogue_events, history_events
from opportune.demo.retail import Retail
from opportune.events.event import Event

EVENTS = 4
"""Orders at a stretch: some hundred lines, a few milliseconds."""
REST = 0.25
"""Of the time spent loading, how much is left to requests."""


class Steps(Protocol):
    """The engine's steps, as far as loading needs them."""

    def ingest(self, events: list[Any], /, *, source: str) -> Any: ...

    def admit(
        self, raw_items: Sequence[Event], *, kind: None, dialect: str, source: str, received: Millis
    ) -> Any: ...

    def append(self, admissions: Sequence[Any]) -> None: ...

    def apply(self, admissions: Sequence[Any]) -> None: ...


def load_catalogue(engine: Steps, retail: Retail, now: Millis) -> int:
    """The items, all at once; how many."""
    events = catalogue_events(retail, now)
    done = 0
    while batch := list(islice(events, BATCH)):
        engine.ingest(batch, source=SOURCE)
        done += len(batch)
    return done


async def load_history(
    engine: Steps, retail: Retail, now: Millis, *, on_progress: Callable[[int], None] = lambda done: None
) -> int:
    """Customers and orders on the event loop, in slices. Nobody waits for these events, so they are folded
    before their flush, which comes with that of the next post, as with decision records."""
    events = history_events(retail, now)
    done = 0
    while batch := list(islice(events, EVENTS)):
        started = time.perf_counter()
        admission = engine.admit(batch, kind=None, dialect="segment", source=SOURCE, received=now)
        engine.append((admission,))
        engine.apply((admission,))
        done += len(batch)
        on_progress(done)
        await asyncio.sleep(REST * (time.perf_counter() - started))
    return done
