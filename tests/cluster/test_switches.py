"""An experiment that is stopped, by a command or a guardrail, is stopped on every decider within seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opportune.engine.workspace import Workspace, load_workspace
from opportune.errors import NotFound
from opportune.streams.config import ClusterConfig, PostgresConfig
from opportune.streams.engine import ClusterEngine, NotHere
from opportune.streams.mirror import Mirror
from opportune.streams.topics import Topics

EXPERIMENTS = """
experiments:
  - id: front
    placements: [home_recs]
    arms: [{id: control}, {id: popular, change: {sources: [{source: popular}]}}]
"""
WITHIN_S = 5.0


def test_every_decider_stops_and_goes_on(config: ClusterConfig, topics: Topics, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "experiments.yaml").write_text(EXPERIMENTS)
    definitions = load_workspace(workspace)
    deciders = [_decider(config, topics, definitions, tmp_path / name) for name in ("a", "b")]
    try:
        with Mirror.open(tmp_path / "m", workspace=workspace) as mirror:
            mirror.follow(config, topics, tmp_path / "m")
            assert [_assigned(decider) for decider in deciders] == [True, True]
            with pytest.raises(NotHere, match="ask the process that plays derive"):
                deciders[0].switch_experiment("front", "stop", "no")
            with pytest.raises(NotFound, match="nobody"):
                mirror.switch_experiment("nobody", "stop", "")
            mirror.commit(mirror.switch_experiment("front", "stop", "the page is broken"))
            _until(lambda: not any(map(_assigned, deciders)), mirror, *deciders)
            _until(lambda: mirror.state.switches.stopped == {"front"}, mirror)
            assert mirror.state.switches.last["front"].why == "the page is broken"
            deciders.append(_decider(config, topics, definitions, tmp_path / "late"))
            assert not _assigned(deciders[-1]), "one that starts later knows it from the start"
            mirror.commit(mirror.switch_experiment("front", "resume", "mended"))
            _until(lambda: all(map(_assigned, deciders)), mirror, *deciders)
            mirror.stop_for_guardrail("front", "errors rose")
            _until(lambda: not any(map(_assigned, deciders)), mirror, *deciders)
            shared = _decider(_with_audit(config), topics, definitions, tmp_path / "shared")
            deciders.append(shared)
            shared.commit(shared.switch_experiment("front", "resume", "by whoever has the shared log"))
            _until(lambda: all(map(_assigned, deciders)), mirror, *deciders)
        with Mirror.open(tmp_path / "m", workspace=workspace) as mirror:
            assert mirror.state.switches.last["front"].action == "resume"
            mirror.follow(config, topics, tmp_path / "m")
    finally:
        for decider in deciders:
            decider.close()


def _with_audit(config: ClusterConfig) -> ClusterConfig:
    return ClusterConfig(
        config.kafka,
        config.redis,
        prefix=config.prefix,
        partitions=config.partitions,
        postgres=PostgresConfig("postgresql://nobody@127.0.0.1:1/none"),
    )


def _decider(config: ClusterConfig, topics: Topics, definitions: Workspace, folder: Path) -> ClusterEngine:
    return ClusterEngine(config, topics, definitions, folder=folder, roles=("decide",))


def _assigned(decider: ClusterEngine) -> bool:
    request = {"placement": "home_recs", "identifiers": {"user_id": "u1"}}
    return bool(decider.decide(request).decisions[0].experiment.id)


def _until(holds: Callable[[], bool], *engines: ClusterEngine | Mirror) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        told = [(engine.state.switches, engine.tail.read, engine.tail.held) for engine in engines]
        assert time.monotonic() < deadline, told
        for engine in engines:
            engine.maintain()
        time.sleep(0.01)
