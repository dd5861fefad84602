"""Workers that are behind are told: in /ready, as a metric, by the command, in every decision."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import send

from opportune.cli.edge import run
from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.lag import lag
from opportune.streams.topics import Topics


def test_without_workers_decisions_say_so_until_one_has_caught_up(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    impatient = msgspec.structs.replace(config, most_behind=10)
    engine = ClusterEngine(
        impatient, topics, load_workspace(None), folder=tmp_path / "s", roles=("gateway", "decide")
    )
    calls = recorded(20)
    try:
        for start in range(0, len(calls), 10):
            send(engine, calls[start : start + 10])
        sent = _seen(engine, lambda behind: behind >= len(calls) / 10)
        assert engine.gauges()["fold_behind_messages"] == sent
        assert engine.ready()["ready"], "all replicas would be unready at once"
        assert _degraded(engine) == [f"profile: the workers are {sent:,} messages behind"]
        assert run(["cluster", "lag", "--cluster", str(file), "--most", "10"]) == 1
        assert "workers are more than 10 messages behind" in capsys.readouterr().err
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            settle(config, topics)
            assert lag(config, topics) == {"fold": 0, "identity": 0}, "end markers are nothing to do"
        _seen(engine, lambda behind: behind <= 10)
        assert _degraded(engine) == []
    finally:
        engine.close()


def _seen(engine: ClusterEngine, enough: object) -> int:
    """The lag as the engine knows it, once it is as awaited."""
    assert callable(enough)
    deadline = time.monotonic() + 30
    while not enough(engine.lag.roles.get("fold", -1)) or engine.lag.away:
        assert time.monotonic() < deadline, engine.ready()
        time.sleep(0.1)
    return engine.lag.roles["fold"]


def _degraded(engine: ClusterEngine) -> list[str]:
    request = {"placement": "home_recs", "identifiers": {"anonymous_id": "b1"}}
    [decision] = engine.decide(request).decisions
    return [told for told in decision.degraded if told.startswith("profile")]
