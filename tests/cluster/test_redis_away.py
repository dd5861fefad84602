"""Decisions go on while Redis does not answer, and say so."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
from scripts.cluster.parts import Parts

from opportune.engine.workspace import load_workspace
from opportune.streams import serving_copy
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

PATIENCE_S = 0.25


def test_a_paused_redis_costs_one_wait_and_is_told(
    servers: Parts, config: ClusterConfig, topics: Topics, tmp_path: Path
) -> None:
    quick = msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, timeout_s=PATIENCE_S))
    engine = ClusterEngine(quick, topics, load_workspace(None), folder=tmp_path / "s", roles=("decide",))
    pid = servers.running()["redis"]["pid"]
    request = {"placement": "home_recs", "identifiers": {"anonymous_id": "b1", "user_id": "u1"}}
    try:
        engine.decide(request)  # compiles
        os.kill(pid, signal.SIGSTOP)
        try:
            first, second = _timed(engine, request), _timed(engine, request)
        finally:
            os.kill(pid, signal.SIGCONT)
        for _, degraded in (first, second):
            assert any(told.startswith("profile: Redis does not answer") for told in degraded)
        assert second[0] < PATIENCE_S, "the second decision does not ask again"
        time.sleep(serving_copy.REST_S)
        assert _timed(engine, request)[1] == []
    finally:
        engine.close()


def _timed(engine: ClusterEngine, request: dict[str, object]) -> tuple[float, list[str]]:
    began = time.monotonic()
    [decision] = engine.decide(request).decisions
    return time.monotonic() - began, [told for told in decision.degraded if told.startswith("profile")]
