"""Redis lost entirely comes back from Kafka, the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import send

from opportune.engine.workspace import load_workspace
from opportune.errors import StorageError
from opportune.profiles.schema import ProfileSchema
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import ClusterEngine
from opportune.streams.lag import lag
from opportune.streams.rebuild import rebuild
from opportune.streams.serving_copy import ServingCopy
from opportune.streams.topics import Topics


def test_an_emptied_redis_is_filled_again(
    config: ClusterConfig, topics: Topics, file: Path, tmp_path: Path
) -> None:
    gateway = ClusterEngine(
        config, topics, load_workspace(None), folder=tmp_path / "scratch", roles=("gateway",)
    )
    server = redis.Redis.from_url(config.redis.url)
    copy = ServingCopy(config)
    schema = ProfileSchema.default()
    try:
        with pytest.raises(StorageError, match="there is no changelog to read, saw 'changelog__"):
            rebuild(config, topics, schema, copy)
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            calls = recorded(40)
            send(gateway, calls)
            settle(config, topics)
            held = {key: server.get(key) for key in server.keys(f"{config.prefix}:*")}
            assert len(held) > 40
            assert lag(config, topics)["fold"] == 0
            server.delete(*held)
            assert rebuild(config, topics, schema, copy) >= len(held)
            assert {key: server.get(key) for key in server.keys(f"{config.prefix}:*")} == held
            newer = max(held)
            server.set(newer, b"\xff" * 8 + b"newer")
            rebuild(config, topics, schema, copy)
            assert server.get(newer) == b"\xff" * 8 + b"newer", "what is newer stays"
    finally:
        gateway.close()
        copy.close()
        server.close()
