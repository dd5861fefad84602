"""One machine beside a cluster on real Kafka and Redis, both sent the same calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.equivalence import send

from opportune import Engine
from opportune.clock import FixedClock
from opportune.engine.workspace import load_workspace
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.topics import Topics

NOW = 1_772_000_000_000 + 20 * 24 * 3_600_000
CALLS = recorded(60)


class Scene:
    """``door`` is the cluster's gateway and learner; workers are started by the test."""

    def __init__(
        self, config: ClusterConfig, topics: Topics, folder: Path, workspace: Path | None = None
    ) -> None:
        self.config, self.topics, self.folder, self.workspace = config, topics, folder, workspace
        self.clock = FixedClock(NOW)
        self.one = Engine.open(folder / "one", workspace=workspace, clock=self.clock)
        self.one._world.timer = lambda: 0  # a stage that is late on a busy machine is no difference
        self.door = self.started("gateway", "learn")
        self.let_publish(at_s=math.inf)

    def started(self, *roles: str, workspace: Path | None = None) -> ClusterEngine:
        engine = ClusterEngine(
            self.config,
            self.topics,
            load_workspace(workspace or self.workspace),
            folder=self.folder / "-".join(("scratch", *roles, str(self.clock.now))),
            roles=roles,
            clock=self.clock,
        )
        engine._world.timer = lambda: 0
        return engine

    def let_publish(self, *, at_s: float = -math.inf) -> None:
        """The learner looks whether it is time for a snapshot only when the test says so."""
        assert self.door._snapshots is not None
        self.door._snapshots._looked_at = at_s

    def play(self, calls: Sequence[dict[str, Any]]) -> None:
        """To both; until the workers have folded everything, and the learner has read it."""
        self.clock.now += len(calls) + 1
        for engine in (self.one, self.door):
            send(engine, calls, self.clock.now - len(calls))
        settle(self.config, self.topics)
        follow(self.door)

    def lists(self, engine: Engine) -> dict[str, Any]:
        """What everybody who is in the stream is shown, who looks at three items just now."""
        found = {}
        for place, name in enumerate(sorted({str(call["anonymousId"]) for call in CALLS})):
            looks = [
                {
                    "type": "track",
                    "event": "Product Viewed",
                    "messageId": f"{name}-{n}",
                    "properties": {"product_id": f"i{(7 * place + n) % 400}"},
                }
                for n in range(3)
            ]
            for placement in ("home_recs", "pdp_similar"):
                request = {"placement": placement, "identifiers": {"anonymous_id": name}, "events": looks}
                if placement == "pdp_similar":
                    request["context"] = {"item_id": "i7"}
                [decision] = engine.decide(request).decisions
                found[name, placement] = [(i.item_id, i.score) for i in decision.items], decision.degraded
        return found

    def delete_journal(self) -> int:
        """Everything that is in the journal now; how many messages."""
        deleted = 0
        tail = self.door.tail
        parts = [TopicPartition(topic, number, end) for (topic, number), end in tail.ends().items()]
        admin = AdminClient(dict(self.config.kafka.client()))
        for done in admin.delete_records(parts).values():
            deleted += done.result(timeout=30).low_watermark
        return deleted

    def close(self) -> None:
        self.door.close()
        self.one.close()


@contextmanager
def closing(engine: ClusterEngine) -> Iterator[ClusterEngine]:
    try:
        yield engine
    finally:
        engine.close()


def follow(engine: ClusterEngine) -> None:
    ends = engine.tail.ends()
    while not engine.tail.reached(ends):
        engine.maintain()
    engine.state.models.learn()
