"""Real servers that refuse."""

from __future__ import annotations

import msgspec
import pytest
from scripts.cluster.parts import Parts, free_port, listens

from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig
from opportune.streams.serving_copy import ServingCopy
from opportune.streams.topics import Topics, ensure


def test_a_wrong_password_of_redis_is_told(
    servers: Parts, config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "right"]
    servers.start("locked", [*command, "--save", "", "--dir", str(servers.folder)], "locked")
    servers.wait("locked", lambda: listens(port))
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    closed = msgspec.structs.replace(
        config,
        redis=msgspec.structs.replace(
            config.redis, url=f"redis://127.0.0.1:{port}/0", password_env="REDIS_PASSWORD"
        ),
    )
    try:
        with pytest.raises(StorageError, match=r"Redis refuses the password .*redis.password_env") as raised:
            ServingCopy(closed).wait(5)
        assert "wrong" not in str(raised.value)
        monkeypatch.setenv("REDIS_PASSWORD", "right")
        copy = ServingCopy(closed)
        copy.wait(5)
        copy.close()
    finally:
        servers.stop("locked")


def test_another_number_of_partitions_is_refused(config: ClusterConfig, topics: Topics) -> None:
    with pytest.raises(StorageError, match=r"has 3 partitions, saw 5, at cluster.yaml \$.partitions"):
        ensure(msgspec.structs.replace(config, partitions=5))
    assert ensure(config) == topics, "what is there is left as it is"
