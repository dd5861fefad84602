"""Workers of two versions side by side: definitions change while a stream runs, one worker at a time."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old
from tests.cluster.streaming import Stream, people, until

from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

OLD = """
features:
  - {name: looked, fold: count, event: product_viewed, windows: [1h, all]}
  - {name: brands, fold: last, event: product_viewed, value: brand, n: 3}
  - {name: gone, fold: count, event: product_viewed, windows: [all]}
"""
NEW = """
features:
  - {name: taken, fold: count, event: product_added, windows: [all]}
  - {name: looked, fold: count, event: product_viewed, windows: [1h, 7d, all]}
  - {name: brands, fold: last, event: product_viewed, value: brand, n: 3}
"""
ADDED = ("taken_all", "looked_7d")
"""Features that the new definitions have more; the second from detail that old rows had lost."""


def folded(log: Path) -> list[str]:
    """The partitions that a worker says that it takes over."""
    return re.findall(r"partition (\d+) from message", log.read_text())


def written(folder: Path, features: str) -> Path:
    folder.mkdir()
    (folder / "features.yaml").write_text(features, encoding="utf-8")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return written(tmp_path / "old", OLD)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return written(tmp_path / "new", NEW)


def test_definitions_change_while_a_stream_runs(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path, old: Path, new: Path
) -> None:
    keep_old(config, topics)
    calls = recorded(200)
    gateway = ClusterEngine(config, topics, load_workspace(old), folder=tmp_path / "g", roles=("gateway",))
    log_a, log_b = tmp_path / "a.log", tmp_path / "b.log"
    with ExitStack() as stack:
        stack.callback(gateway.close)
        stack.enter_context(playing("identity", file, tmp_path / "i", workspace=old))
        stream = Stream(gateway, calls)
        stack.callback(stream.end)
        with ExitStack() as running:
            first = running.enter_context(playing("fold", file, tmp_path / "a", workspace=old, log=log_a))
            running.enter_context(playing("fold", file, tmp_path / "b", workspace=old, log=log_b))
            until(lambda: set(folded(log_a) + folded(log_b)) == {"0", "1", "2"})
            stream.goes_on()
            first.terminate()
            first.wait()
            before = len(folded(log_a))
            second = running.enter_context(playing("fold", file, tmp_path / "a", workspace=new, log=log_a))
            until(lambda: len(folded(log_a)) > before)
            stream.goes_on()
            second.kill()
            until(
                lambda: "nothing is folded here: leaves were written by a newer version" in log_b.read_text()
            )
            stream.goes_on()
        with (
            playing("fold", file, tmp_path / "a", workspace=new),
            playing("fold", file, tmp_path / "b", workspace=new),
        ):
            stream.end()
            settle(config, topics)
        compare(config, topics, calls, new, tmp_path)
        compare(config, topics, calls, old, tmp_path)


def compare(config: ClusterConfig, topics: Topics, calls: list[Any], workspace: Path, folder: Path) -> None:
    """A decider with these definitions tells the same of everybody as one machine does, in all that both
    versions of the definitions have."""
    one, many = people(config, topics, calls, folder, workspace)
    assert {name: kept(profile) for name, profile in many.items()} == {
        name: kept(profile) for name, profile in one.items()
    }


def kept(profile: dict[str, Any]) -> dict[str, Any]:
    features = {
        name: value for name, value in profile["features"].items() if name not in (*ADDED, "gone_all")
    }
    return {**profile, "features": features}
