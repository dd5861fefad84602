"""Real Kafka and Redis for the tests of the cluster: ``make cluster-test`` asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from scripts.cluster.kafka import Kafka
from scripts.cluster.parts import Parts
from scripts.cluster.redis import Redis

from opportune.streams.config import ClusterConfig, KafkaConfig, RedisConfig
from opportune.streams.topics import Topics, ensure

ASKED = "OPPORTUNE_CLUSTER_TESTS"
PROGRAMS = ("java", "mvn", "redis-server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(ASKED) == "1":
        return
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    why = f" ({', '.join(missing)} not installed)" if missing else ""
    skipped = pytest.mark.skip(reason=f"the cluster on real Kafka and Redis: run `make cluster-test`{why}")
    for item in items:
        if Path(str(item.fspath)).parent == Path(__file__).parent and "servers" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(skipped)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """One broker and Redis on loopback, in a folder of their own, stopped at the end."""
    parts = Parts(tmp_path_factory.mktemp("servers"))
    try:
        Kafka(parts).up()
        Redis(parts).up()
        yield parts
    finally:
        parts.down()


@pytest.fixture
def config(servers: Parts) -> ClusterConfig:
    """A cluster of its own on the shared servers."""
    addresses = servers.addresses()
    return ClusterConfig(
        KafkaConfig(addresses["kafka-1"]),
        RedisConfig(addresses["redis"], timeout_s=2.0),
        prefix=f"t{uuid.uuid4().hex[:8]}",
        partitions=3,
    )


@pytest.fixture
def topics(config: ClusterConfig) -> Topics:
    return ensure(config)


@pytest.fixture
def file(config: ClusterConfig, tmp_path: Path) -> Path:
    """The same as ``cluster.yaml``."""
    path = tmp_path / "cluster.yaml"
    path.write_text(
        f"kafka: {{brokers: '{config.kafka.brokers}'}}\n"
        f"redis: {{url: '{config.redis.url}', timeout_s: 2.0}}\n"
        f"prefix: {config.prefix}\npartitions: {config.partitions}\n"
    )
    return path


@contextmanager
def playing(
    role: str, file: Path, folder: Path, *, workspace: Path | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """One process of the cluster, terminated at the end; what it says goes to the end of ``log``."""
    command = [sys.executable, "-m", "opportune.cli", "serve", "--role", role]
    if workspace is not None:
        command += ["--workspace", str(workspace)]
    with log.open("ab") if log else nullcontext() as out:
        process = subprocess.Popen(
            [*command, "--cluster", str(file), "--data-dir", str(folder)], stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=30)
