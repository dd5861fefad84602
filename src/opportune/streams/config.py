"""``cluster.yaml``: where Kafka and Redis are, and how the topics are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from opportune.config import definitions
from opportune.errors import InvalidDefinition

Seconds = Annotated[float, msgspec.Meta(gt=0, le=300)]


class KafkaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``brokers`` is ``host:port,host:port``. A password is never in the file: ``password_env`` names the
    environment variable that has it. ``ca`` is the file of the certificate authority."""

    brokers: str
    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password_env: str = ""
    ca: str = ""

    def client(self) -> dict[str, str]:
        """The settings that every Kafka client of ours shares, by librdkafka's names."""
        settings = {"bootstrap.servers": self.brokers, "security.protocol": self.protocol}
        if self.protocol.startswith("sasl"):
            settings |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": _secret(self.password_env, "kafka.password_env"),
            }
        if self.ca:
            settings["ssl.ca.location"] = self.ca
        return settings


class RedisConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``url`` is ``redis://`` or ``rediss://`` (TLS); a user of the access list goes into it, the password
    into the variable that ``password_env`` names. ``timeout_s`` bounds every answer that a decision waits
    for."""

    url: str
    password_env: str = ""
    timeout_s: Seconds = 0.25

    def password(self) -> str | None:
        """The password from the environment; None when the file names no variable."""
        return _secret(self.password_env, "redis.password_env") if self.password_env else None


class PostgresConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where definitions and the audit log are kept. ``url`` is ``postgresql://user@host:port/database``, with
    ``?sslmode=verify-full&sslrootcert=FILE`` for TLS; the password is in the variable that ``password_env``
    names. ``timeout_s`` bounds every answer that a request waits for; decisions wait for none."""

    url: str
    password_env: str = ""
    timeout_s: Seconds = 2.0

    def password(self) -> str | None:
        """The password from the environment; None when the file names no variable."""
        return _secret(self.password_env, "postgres.password_env") if self.password_env else None


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the roles find each other.

    ``prefix`` starts the name of every topic, consumer group and Redis key. ``partitions`` is chosen once: a
    leaf lives in the partition that its identifier hashes to, so the number must not change afterwards.
    ``commit_s`` is how often workers commit what they folded, which is when decisions see it. When more than
    ``most_behind`` messages wait for the workers, decisions say that what they know of people is old; a
    replica that is itself so far behind the journal is not ready. A message holds what one gateway took for
    one partition between two flushes, often a single event, 500 at most. ``postgres`` is optional: without it
    definitions are the files beside each process, and the audit log is the data folder's. ``generation`` says
    which of two workers with different definitions is the newer one: raise it to go back to definitions or a
    release that were replaced. Definitions from PostgreSQL count by themselves.
    ``erasure_key_env`` names the variable with the secret under which tombstones of erased people are hashed;
    without one it is ``prefix``, and whoever can read the tombstones and has a list of addresses can try
    them. Choose it before the first erasure: with another one tombstones are not recognised.
    """

    kafka: KafkaConfig
    redis: RedisConfig
    prefix: str = "opportune"
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    copies: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1
    commit_s: Seconds = 0.03
    exactly_once: bool = True
    most_behind: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    generation: Annotated[int, msgspec.Meta(ge=0)] = 0
    snapshot_every_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 600.0
    postgres: PostgresConfig | None = None
    erasure_key_env: str = ""

    def erasure_key(self) -> bytes:
        """What tombstones are hashed under."""
        return (
            _secret(self.erasure_key_env, "erasure_key_env") if self.erasure_key_env else self.prefix
        ).encode()

    def __post_init__(self) -> None:
        if urlsplit(self.redis.url).password:
            raise ValueError("redis.url must not hold a password: name a variable in redis.password_env")
        if self.postgres is not None and urlsplit(self.postgres.url).password:
            raise ValueError(
                "postgres.url must not hold a password: name a variable in postgres.password_env"
            )


def load_config(path: str | Path) -> ClusterConfig:
    """Read ``cluster.yaml``. Raises :class:`InvalidDefinition` with the path of what is wrong."""
    return definitions.load(Path(path), ClusterConfig)


def _secret(variable: str, where: str) -> str:
    found = os.environ.get(variable) if variable else None
    if found is None:
        raise InvalidDefinition(
            "the password is not in the environment",
            seen=variable,
            where=f"cluster.yaml $.{where}",
            remedy="set the variable that it names, or name the variable that is set",
        )
    return found
