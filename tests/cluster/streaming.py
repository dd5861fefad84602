"""A stream that goes on while workers come and go, and what came of it on one machine and on the cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.equivalence import named, person, send

from opportune.clock import FixedClock
from opportune.engine.engine import Engine
from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

AT_ONCE = 10
PAUSE_S = 0.25
AFTERWARDS = 1_773_400_000_000
"""After the last event of a recorded stream."""


class Stream:
    """Posts calls, some at a time, from a thread of its own, until all are posted."""

    def __init__(self, engine: ClusterEngine, calls: list[dict[str, Any]]) -> None:
        self.posted = 0
        self._engine = engine
        self._calls = calls
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._post)
        self._thread.start()

    def _post(self) -> None:
        for start in range(0, len(self._calls), AT_ONCE):
            send(self._engine, self._calls[start : start + AT_ONCE])
            self.posted = min(start + AT_ONCE, len(self._calls))
            self._hurry.wait(PAUSE_S)

    def goes_on(self, by: int = 100) -> None:
        """Until so many more are posted."""
        goal = self.posted + by
        assert goal <= len(self._calls), "the stream is too short"
        until(lambda: self.posted >= goal)

    def end(self) -> None:
        self._hurry.set()
        self._thread.join()


def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def people(
    config: ClusterConfig,
    topics: Topics,
    calls: Sequence[dict[str, Any]],
    folder: Path,
    workspace: Path | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every profile by identifier, of one machine that had these calls and as a decider tells it."""
    clock, name = FixedClock(AFTERWARDS), workspace.name if workspace else "none"
    one = Engine.open(folder / f"one-{name}", workspace=workspace, clock=clock)
    many = ClusterEngine(
        config,
        topics,
        load_workspace(workspace),
        folder=folder / f"many-{name}",
        roles=("decide",),
        clock=clock,
    )
    try:
        one.ingest(calls, source="shop")
        names = sorted({name for call in calls for name in named(call)})
        return {name: person(one, name) for name in names}, {name: person(many, name) for name in names}
    finally:
        many.close()
        one.close()
