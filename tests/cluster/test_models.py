"""Models trained where `derive` keeps everything rank on every decider as they would on one machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scripts.cluster.recorded import recorded
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old
from tests.cluster.scene import Scene, closing, follow
from tests.learn.small_models import propensity

from opportune.engine.versions import Versions
from opportune.learn.bundle import BUY, ModelInfo
from opportune.learn.scores import MODEL
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.mirror import Mirror
from opportune.streams.topics import Topics

pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")

WORKSPACE = """
placements:
  - {name: home_recs, count: 8, sources: [{source: session_knn}, {source: factors, weight: 0.5}]}
  - {name: pdp_similar, count: 8, sources: [{source: microsegments}, {source: covisitation}]}
"""
FEATURES = """
extends: nothing
features:
  - {name: orders, fold: count, event: order_completed, windows: [all]}
  - {name: spend, fold: sum, event: order_completed, value: value}
  - {name: idle, fold: recency}
"""
FEW = ("--placement", "home_recs", "--trees", "4", "--leaves", "4")


@pytest.fixture
def scene(config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path) -> Iterator[Scene]:
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "placements.yaml").write_text(WORKSPACE)
    (workspace / "features.yaml").write_text(FEATURES)
    (workspace / "scores.yaml").write_text("scores: [{name: will_buy, model: 'live:buy'}]")
    keep_old(config, topics)
    options = {"workspace": workspace}
    with (
        playing("fold", file, tmp_path / "f", **options),
        playing("identity", file, tmp_path / "i", **options),
    ):
        made = Scene(config, topics, tmp_path, workspace)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def mirror(scene: Scene) -> Iterator[Mirror]:
    folder = scene.folder / "mirror"
    with Mirror.open(folder, workspace=scene.workspace, clock=scene.clock) as made:
        made.follow(scene.config, scene.topics, folder)
        yield made


def opportune(*args: Any) -> Any:
    """A command beside the process that has the folder open, as somebody at a shell gives it."""
    command = [sys.executable, "-m", "opportune.cli", *(str(arg) for arg in args), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def trained(scene: Scene, kind: str, *more: str) -> str:
    """A new version in the folder of `derive`, live."""
    where = ("--data-dir", scene.folder / "mirror")
    told = opportune(
        "train", "--model", kind, *where, "--workspace", scene.workspace, "--threads", "1", *more
    )
    version = str(told["version"])
    opportune("promote", version, "--model", kind, "--to", "live", *where)
    return version


def test_scores_of_people_follow_too(scene: Scene, mirror: Mirror) -> None:
    scene.play(recorded(40))
    who = "anonymous_id:b3"
    info = ModelInfo(
        model=BUY, version="b1", created=1, code_version="1", definitions="d", offsets=(1, 2), window=(0, 1),
        metrics={},
    )  # fmt: skip
    with closing(scene.started("decide")) as decider:
        taken(decider)
        assert decider.profile(who)["features"]["will_buy"] is None
        for folder in ("mirror", "one"):
            versions = Versions(scene.folder / folder, BUY)
            versions.keep("b1", msgspec.json.encode(info), {MODEL: propensity(0).decode()}, {}, 1)
            versions.record(versions.registry().promote("b1", 2, "live"))
        mirror.shelf.publish()
        taken(decider)
        scene.one.refresh_ranker()
        mine = scene.one.profile(who)["features"]
        assert 0 < mine["will_buy"] < 1
        assert decider.profile(who)["features"] == mine


def taken(engine: ClusterEngine) -> str | None:
    """The name of the ranker that serves, now that the decider has looked."""
    assert engine._feed is not None
    engine._feed.take()
    engine.refresh_ranker()
    return None if engine._world.ranker is None else engine._world.ranker.name


def test_deciders_rank_with_what_was_promoted_at_derive_and_go_back(scene: Scene, mirror: Mirror) -> None:
    scene.play(recorded(160))
    ends = mirror.tail.ends()
    while not mirror.tail.reached(ends):
        mirror.take()
    with closing(scene.started("decide")) as decider:
        plain = scene.lists(decider)
        assert taken(decider) is None
        mirror.checkpoint()
        for kind in ("factors", "microsegments"):
            trained(scene, kind)
        first = trained(scene, "ranker", *FEW, "--no-sequence")
        mirror.shelf.publish()
        assert taken(decider) == f"ranker/{first}"
        shutil.copytree(scene.folder / "mirror" / "models", scene.folder / "one" / "models")
        assert mirror.state.catalog.ids == scene.one.state.catalog.ids
        scene.one.refresh_ranker()
        mine = scene.lists(scene.one)
        assert mine != plain
        assert not any("rank" in text for _, degraded in mine.values() for text in degraded)
        assert scene.lists(decider) == mine

        second = trained(scene, "ranker", "--placement", "home_recs", "--trees", "9", "--no-sequence")
        mirror.shelf.publish()
        assert taken(decider) == f"ranker/{second}"
        assert scene.lists(decider) != mine
        where = ("--data-dir", scene.folder / "mirror")
        opportune("rollback", *where)
        mirror.shelf.publish()
        assert taken(decider) == f"ranker/{first}"
        assert scene.lists(decider) == mine

        opportune("promote", second, "--to", "canary", "--share", "0.5", *where)
        mirror.shelf.publish()
        shutil.copytree(
            scene.folder / "mirror" / "models", scene.folder / "one" / "models", dirs_exist_ok=True
        )
        assert taken(decider) == f"ranker/{first}"
        scene.one.refresh_ranker()
        tried = scene.lists(scene.one)
        assert tried != mine
        assert scene.lists(decider) == tried
        opportune("promote", second, "--to", "archived", *where)
        mirror.shelf.publish()
        assert taken(decider) == f"ranker/{first}"
        assert scene.lists(decider) == mine

        follow(scene.door)
        scene.door.publish_snapshot()
        scene.delete_journal()
        scene.clock.now += 1
        with closing(scene.started("decide")) as late:
            assert late.ready()["started_from"] == "snapshot-0"
            assert late._world.ranker is not None
            assert late._world.ranker.name == f"ranker/{first}"
            assert scene.lists(late) == mine
