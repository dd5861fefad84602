"""Decisions go on while Redis does not answer, and say so."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from scripts.cluster.parts import Parts

from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

DEADLINE_MS = 200


def test_a_paused_redis_costs_one_wait_and_is_told(
    servers: Parts, config: ClusterConfig, topics: Topics, tmp_path: Path
) -> None:
    engine = ClusterEngine(config, topics, load_workspace(None), folder=tmp_path / "s", roles=("decide",))
    pid = servers.running()["redis"]["pid"]
    request: dict[str, object] = {
        "placement": "home_recs",
        "identifiers": {"anonymous_id": "b1", "user_id": "u1"},
    }
    request["deadline_ms"] = DEADLINE_MS
    try:
        engine.decide(request)  # compiles
        os.kill(pid, signal.SIGSTOP)
        try:
            first, second = _timed(engine, request), _timed(engine, request)
        finally:
            os.kill(pid, signal.SIGCONT)
        for _, degraded in (first, second):
            assert any(told.startswith("profile: Redis does not answer") for told in degraded)
        assert first[0] < DEADLINE_MS / 1e3, "half of it is for Redis"
        assert second[0] < DEADLINE_MS / 2e3, "the second decision does not ask again"
        until = time.monotonic() + 10
        while _timed(engine, request)[1]:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        engine.close()


def _timed(engine: ClusterEngine, request: dict[str, object]) -> tuple[float, list[str]]:
    began = time.monotonic()
    [decision] = engine.decide(request).decisions
    return time.monotonic() - began, [told for told in decision.degraded if told.startswith("profile")]
