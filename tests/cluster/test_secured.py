"""TLS, users with passwords and access lists, on a real broker and a real Redis."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from scripts.cluster.kafka import Kafka, Secured
from scripts.cluster.parts import Parts, free_port, listens
from scripts.cluster.recorded import recorded
from scripts.cluster.settled import settle
from tests.cluster.conftest import playing
from tests.cluster.equivalence import send

from opportune.engine.workspace import load_workspace
from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig, load_config
from opportune.streams.engine import ClusterEngine
from opportune.streams.serving_copy import ServingCopy
from opportune.streams.topics import ensure

USER, PASSWORD, PREFIX = "opportune", "r1ght", "safe"
COMMANDS = (
    "+mget +get +set +getrange +eval +evalsha +script|load +ping +hello +info +select +client"
    " +time +zadd +zcard +zremrangebyscore"
)
MAY = {
    ResourceType.TOPIC: (f"{PREFIX}.", f"changelog__{PREFIX}-"),
    ResourceType.GROUP: (f"{PREFIX}-",),
    ResourceType.TRANSACTIONAL_ID: (f"{PREFIX}-",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and one certificate for both servers."""
    folder = tmp_path_factory.mktemp("secured")
    for step in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
    ):
        subprocess.run(["openssl", *step.split()], cwd=folder, check=True, capture_output=True)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names"
    subprocess.run(
        ["openssl", *sign.split(), "-out", "server.pem"], cwd=folder, check=True, capture_output=True
    )
    both = (folder / "server.key").read_text() + (folder / "server.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Parts]:
    parts = Parts(folder / "servers")
    try:
        kafka = Kafka(parts, secured=Secured(folder / "both.pem", USER, PASSWORD))
        kafka.up()
        allow(kafka.inside)
        port = free_port()
        command = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
        command += [
            "--tls-cert-file",
            str(folder / "server.pem"),
            "--tls-key-file",
            str(folder / "server.key"),
        ]
        command += ["--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no", "--save", ""]
        users = folder / "users.acl"
        users.write_text(f"user default off\nuser {USER} on >{PASSWORD} ~{PREFIX}:* {COMMANDS}\n")
        command += ["--aclfile", str(users)]
        url = f"rediss://{USER}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}"
        parts.start("redis", command, url)
        parts.wait("redis", lambda: listens(port))
        yield parts
    finally:
        parts.down()


@pytest.fixture
def servers(running: Parts) -> Parts:
    """The name tells the suite that real servers are needed."""
    return running


@pytest.fixture
def file(servers: Parts, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
    addresses = servers.addresses()
    path = folder / "cluster.yaml"
    path.write_text(
        f"kafka: {{brokers: '{addresses['kafka-1']}', protocol: sasl_ssl, username: {USER},"
        f" password_env: KAFKA_PASSWORD, ca: '{folder / 'ca.pem'}'}}\n"
        f"redis: {{url: '{addresses['redis']}', password_env: REDIS_PASSWORD, timeout_s: 2.0}}\n"
        f"prefix: {PREFIX}\npartitions: 2\n"
    )
    return path


@pytest.fixture
def config(file: Path) -> ClusterConfig:
    return load_config(file)


def allow(inside: str) -> None:
    """What docs/how-to/run-a-cluster.md tells to allow, and no more."""
    rules = [
        AclBinding(
            kind, name, ResourcePatternType.PREFIXED, f"User:{USER}", "*", AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        for kind, names in MAY.items()
        for name in names
    ]  # fmt: skip
    admin = AdminClient({"bootstrap.servers": inside})
    for done in admin.create_acls(rules).values():
        done.result(timeout=30)


def test_an_event_goes_all_the_way(config: ClusterConfig, file: Path, tmp_path: Path) -> None:
    topics = ensure(config)
    engine = ClusterEngine(
        config, topics, load_workspace(None), folder=tmp_path / "s", roles=("gateway", "decide")
    )
    try:
        with playing("fold", file, tmp_path / "f"), playing("identity", file, tmp_path / "i"):
            calls = recorded(10)
            send(engine, calls)
            settle(config, topics)
        found = engine.profile("anonymous_id:b1")
        assert sum(found["events"].values()) > 0
        request = {"placement": "home_recs", "identifiers": {"anonymous_id": "b1"}}
        [decision] = engine.decide(request).decisions
        assert not [told for told in decision.degraded if told.startswith("profile")]
    finally:
        engine.close()


def test_a_wrong_password_of_kafka_is_told_at_once(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "wr0ng")
    with pytest.raises(
        StorageError, match=r"Kafka refuses the connection \(.*[Aa]uthentication failed.*kafka\.password_env"
    ) as told:
        ensure(config, wait_s=60)
    assert "wr0ng" not in str(told.value)


def test_another_authority_is_told_at_once(config: ClusterConfig, folder: Path) -> None:
    other = folder / "other.pem"
    make = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.pem"
    subprocess.run(["openssl", *make.split()], cwd=folder, check=True, capture_output=True)
    stranger = msgspec.structs.replace(config, kafka=msgspec.structs.replace(config.kafka, ca=str(other)))
    with pytest.raises(
        StorageError, match=r"Kafka refuses the connection \(.*certificate verify failed.*kafka\.ca"
    ):
        ensure(stranger, wait_s=60)


def test_what_the_list_does_not_allow_is_told(config: ClusterConfig) -> None:
    stranger = msgspec.structs.replace(config, prefix="other")
    with pytest.raises(StorageError, match=r"Kafka does not make the topic other\.events .*allow this user"):
        ensure(stranger, wait_s=10)


def test_redis_refuses_a_wrong_password_and_another_authority(
    config: ClusterConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = ServingCopy(config)
    copy.put({copy.key(b"l", b"user_id:nobody-else"): bytes(8) + b"x"})
    assert copy.get([copy.key(b"l", b"user_id:nobody-else")]) == [bytes(8) + b"x"]
    copy.close()
    monkeypatch.setenv("REDIS_PASSWORD", "wr0ng")
    closed = ServingCopy(config)
    with pytest.raises(StorageError, match=r"Redis refuses the password .*redis\.password_env") as told:
        closed.wait(5)
    assert "wr0ng" not in str(told.value)
    closed.close()
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
    url = config.redis.url.replace("ca.pem", "both.pem")
    stranger = ServingCopy(
        msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))
    )
    with pytest.raises(StorageError, match=r"Redis does not answer .*certificate verify failed"):
        stranger.wait(0.1)
    stranger.close()
