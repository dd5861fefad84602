"""What a learn role publishes lets a decider start without the journal before it, and decide the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from tests.cluster.conftest import playing
from tests.cluster.equivalence import keep_old
from tests.cluster.scene import CALLS, Scene, closing, follow

from opportune.errors import StorageError
from opportune.experiments.switch import Switch
from opportune.streams.artifacts import ANNOUNCED, Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.tail import Tail
from opportune.streams.topics import Topics

HALF = len(CALLS) // 2


@pytest.fixture
def scene(config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path) -> Iterator[Scene]:
    keep_old(config, topics)
    with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
        made = Scene(config, topics, tmp_path)
        try:
            yield made
        finally:
            made.close()


def test_a_decider_that_starts_from_a_snapshot_decides_as_one_that_read_everything(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.play(CALLS[:HALF])
    with closing(scene.started("decide")) as old:
        assert old.ready()["started_from"] == "the journal"
        scene.door.publish_snapshot()
        assert scene.delete_journal() > HALF // 100
        scene.play(CALLS[HALF:])
        follow(old)
        scene.clock.now += 1
        with caplog.at_level(logging.WARNING), closing(scene.started("decide")) as warm:
            assert "Kafka deleted" not in caplog.text
            assert warm.ready()["started_from"] == "snapshot-0"
            assert 0 < warm.tail.read < len(CALLS)
            mine = scene.lists(scene.one)
            assert sum(len(items) for items, _ in mine.values()) > 500
            assert scene.lists(old) == mine
            assert scene.lists(warm) == mine
            assert warm.state.catalog.ids == old.state.catalog.ids
            scene.play([{**CALLS[0], "messageId": f"more-{n}"} for n in range(20)])
            follow(warm)
            assert scene.lists(warm) == scene.lists(scene.one)


def test_an_experiment_that_was_stopped_stays_so(scene: Scene) -> None:
    for name, action in (("front", "stop"), ("back", "stop"), ("back", "resume")):
        scene.door.log.append(Switch(name, action, "it hurts", scene.clock.now))
        scene.door.log.flush()
    follow(scene.door)
    scene.door.publish_snapshot()
    with closing(scene.started("decide")) as warm:
        assert warm.tail.read == 0
        assert warm.state.switches.stopped == {"front"}
        scene.door.log.append(Switch("front", "resume", "", scene.clock.now))
        scene.door.log.flush()
        follow(warm)
        assert warm.state.switches.stopped == frozenset()


def test_somebody_who_is_erased_is_not_in_the_next_snapshot(scene: Scene) -> None:
    scene.play(CALLS[:HALF])
    scene.door.publish_snapshot()
    with closing(scene.started("gateway", "learn")) as learner:
        who = str(CALLS[HALF - 1]["anonymousId"])
        sessions = learner.state.models.log
        held = len(sessions._open)
        learner.erasing([f"anonymous_id:{who}"]).begin()
        assert len(sessions._open) < held
        assert sessions.forget(f"anonymous_id:{who}") == 0


def test_a_snapshot_names_nobody(scene: Scene) -> None:
    scene.play(CALLS[:HALF])
    scene.door.publish_snapshot()
    artifacts = Artifacts(scene.config, scene.topics.artifacts)
    artifacts.follow()
    [snapshot] = artifacts.of_kind("snapshot")
    data = b"".join(artifacts.read(snapshot))
    artifacts.close()
    assert b"i7" in data
    for call in CALLS[:HALF]:
        assert str(call["anonymousId"]).encode() + b"\n" not in data
        assert f"anonymous_id:{call['anonymousId']}".encode() not in data
        assert str(call.get("userId", "anonymous_id:")).encode() + b"@" not in data


def test_a_broken_snapshot_is_told_and_an_older_one_serves(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.play(CALLS[:HALF])
    scene.door.publish_snapshot()
    scene.clock.now += 1
    scene.door.publish_snapshot()
    _spoil(scene, "snapshot-1")
    with caplog.at_level(logging.WARNING, "opportune.streams"), closing(scene.started("decide")) as engine:
        assert engine.ready()["started_from"] == "snapshot-0"
        assert scene.lists(engine) == scene.lists(scene.one)
    assert "snapshot-1 cannot be used, an older one may do: the bytes in Kafka are not those" in caplog.text
    _spoil(scene, "snapshot-0", format=99)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "opportune.streams"), closing(scene.started("decide")) as engine:
        assert engine.ready()["started_from"] == "the journal"
        assert scene.lists(engine) == scene.lists(scene.one)
    assert "published by a newer version (format 99, we read 1)" in caplog.text


def _spoil(scene: Scene, name: str, *, format: int | None = None) -> None:
    """Other bytes, or another format, under an announcement that says the rest as it was."""
    artifacts = Artifacts(scene.config, scene.topics.artifacts)
    artifacts.follow()
    before = artifacts.known[name]
    spoilt = msgspec.structs.replace(before, format=format or before.format)
    if format is None:
        spoilt = msgspec.structs.replace(before, digest="0" * 64)
    producer = Producer(scene.config.kafka.client())
    producer.produce(
        scene.topics.artifacts, msgspec.msgpack.encode(spoilt), key=name.encode(), partition=ANNOUNCED
    )
    assert producer.flush(10) == 0
    artifacts.close()


def test_a_start_says_what_was_deleted_after_its_snapshot_and_refuses_another_journal(scene: Scene) -> None:
    scene.play(CALLS[:100])
    journal, ends = scene.topics.journal, scene.door.tail.ends()
    deleted = scene.delete_journal()
    for begin, lost in ((0, deleted), (1, deleted - 3)):
        tail = Tail(scene.config, (journal,), start={(journal, n): (begin, 0) for n in range(3)})
        assert tail.check_start() == lost
        assert tail.held == 0
        assert tail.reached({place: end for place, end in ends.items() if place[0] == journal})
        tail.close()
    beyond = ends[journal, 1] + 1
    tail = Tail(scene.config, (journal,), start={(journal, 1): (beyond, 0)})
    with pytest.raises(
        StorageError, match=f"ends at {beyond - 1} in partition 1, but was followed to {beyond}"
    ):
        tail.check_start()
    tail.close()


def test_other_definitions_start_from_it_as_one_machine_does_from_its_checkpoint(
    scene: Scene, tmp_path: Path
) -> None:
    scene.play(CALLS[:HALF])
    scene.door.publish_snapshot()
    scene.delete_journal()
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "placements.yaml").write_text(
        "placements: [{name: home_recs, sources: [{source: most_bought}], count: 7}]"
    )
    with closing(scene.started("decide", workspace=workspace)) as engine:
        assert engine.ready()["started_from"] == "snapshot-0"
        [decision] = engine.decide(
            {"placement": "home_recs", "identifiers": {"anonymous_id": "new"}}
        ).decisions
        assert len(decision.items) == 7


def test_the_learner_publishes_when_the_newest_is_old_and_keeps_three(scene: Scene) -> None:
    scene.play(CALLS[:100])
    artifacts = Artifacts(scene.config, scene.topics.artifacts)
    assert scene.door._snapshots is not None
    for number in range(5):
        scene.clock.now += round(scene.config.snapshot_every_s * 1000)
        scene.let_publish()
        while scene.door._snapshots._newest != scene.clock.now:
            scene.door.maintain()
        artifacts.follow()
        found = [one.name for one in artifacts.of_kind("snapshot")]
        assert len(found) == min(number + 1, 3)
        assert found[0] == f"snapshot-{number % 3}"
    scene.let_publish()
    for _ in range(200):
        scene.door.maintain()
    assert artifacts.follow() == set()
    artifacts.close()
