"""Fold workers come and go while a stream runs: nothing is lost, nothing counts twice, all catch up."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.speed.cluster import sharing
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old
from tests.cluster.streaming import Stream, people, until
from tests.faults.cluster_kills import twice

from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.lag import lag
from opportune.streams.topics import Topics


def test_two_join_then_one_leaves_and_one_is_killed(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    keep_old(config, topics)
    calls = recorded(200)
    gateway = ClusterEngine(config, topics, load_workspace(None), folder=tmp_path / "g", roles=("gateway",))
    with ExitStack() as stack:
        stack.callback(gateway.close)
        stack.enter_context(playing("identity", file, tmp_path / "i"))
        stream = Stream(gateway, calls)
        stack.callback(stream.end)
        workers = []
        for count in (1, 2, 3):
            workers.append(stack.enter_context(playing("fold", file, tmp_path / f"f{count}")))
            until(lambda count=count: sharing(config, "fold") == count)
            stream.goes_on()
        workers[0].terminate()
        until(lambda: sharing(config, "fold") == 2)
        stream.goes_on()
        workers[1].kill()
        until(lambda: sharing(config, "fold") == 1)
        stream.end()
        settle(config, topics)
        assert lag(config, topics)["fold"] == 0
        assert twice(config, topics) == 0
        one, many = people(config, topics, calls, tmp_path)
        assert many == one
        assert len(one) > 250
