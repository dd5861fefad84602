"""The topics of a cluster, by what is in them."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig

DAY_MS = 24 * 3_600_000
WEEK_MS = 7 * DAY_MS
MOST_PATIENT_S = 15.0

ARTIFACT_PARTITIONS = 2
"""What there is, and the pieces of it."""

_HOUR_MS = "3600000"
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": _HOUR_MS,
    "segment.bytes": str(64 << 20),
    "max.compaction.lag.ms": _HOUR_MS,
    "delete.retention.ms": _HOUR_MS,
    "min.cleanable.dirty.ratio": "0.1",
}
"""What was replaced or withdrawn is off the brokers' disks some two hours later."""

_REFUSES = (KafkaError._AUTHENTICATION, KafkaError._SSL)
"""What waiting does not change."""


class Topics(msgspec.Struct, frozen=True):
    """``events`` is what gateways and decisions publish, placed by the strongest identifier, and may hold an
    event twice. ``journal`` is what the fold workers accepted, each entry once. ``ends`` tells the other
    identifiers of an event about it, placed by them. ``items`` is the catalogue's own updates, and
    experiments that are stopped or resumed; ``account`` tallies and dead letters. Messages are
    :mod:`~opportune.streams.packs`. ``artifacts`` is what processes publish for others to load, snapshots and
    trained models (:mod:`~opportune.streams.artifacts`)."""

    events: str
    journal: str
    ends: str
    items: str
    account: str
    artifacts: str

    @classmethod
    def of(cls, prefix: str) -> Topics:
        return cls(*[f"{prefix}.{name}" for name in cls.__struct_fields__])


def ensure(
    config: ClusterConfig, *, wait_s: float = 120.0, say: Callable[[str], None] = lambda text: None
) -> Topics:
    """Make the topics that are missing; wait for brokers that are not there yet, with growing pauses.

    Raises :class:`StorageError` when nobody answers within ``wait_s``, or when a broker refuses.
    """
    topics = Topics.of(config.prefix)
    refusals: list[str] = []
    admin = AdminClient(
        {
            **config.kafka.client(),
            "socket.timeout.ms": 5_000,
            "log_level": 0,
            "error_cb": lambda error: refusals.append(error.str()) if error.code() in _REFUSES else None,
        }
    )
    deadline, pause = time.monotonic() + wait_s, 0.25
    while True:
        try:
            known = admin.list_topics(timeout=5).topics
            break
        except KafkaException as error:
            told = error.args[0].str()
            admin.poll(0)
            if refusals:
                raise StorageError(
                    f"Kafka refuses the connection ({refusals[-1]})",
                    seen=config.kafka.brokers,
                    remedy="check kafka.username, the variable in kafka.password_env, and kafka.ca",
                ) from error
            if time.monotonic() + pause > deadline:
                raise StorageError(
                    f"Kafka does not answer ({told})",
                    seen=config.kafka.brokers,
                    remedy="check kafka.brokers, its user and password, and that the brokers run",
                ) from error
            say(f"waiting for Kafka at {config.kafka.brokers}: {told}")
            time.sleep(pause)
            pause = min(2 * pause, MOST_PATIENT_S)
    names = msgspec.structs.astuple(topics)
    for name in names:
        if name not in known:
            if name == topics.artifacts:
                _make(admin, config, name, partitions=ARTIFACT_PARTITIONS, settings=_COMPACTED)
            else:
                keep_ms = -1 if name == topics.items else WEEK_MS
                _make(
                    admin,
                    config,
                    name,
                    partitions=config.partitions,
                    settings={"retention.ms": str(keep_ms), "segment.ms": str(DAY_MS)},
                )
        elif name in (topics.events, topics.ends) and len(known[name].partitions) != config.partitions:
            raise StorageError(
                f"the topic {name} has {len(known[name].partitions)} partitions",
                seen=config.partitions,
                where="cluster.yaml $.partitions",
                remedy="say what the topic has: leaves live where their identifier hashes to",
            )
    # A broker may tell others of a new topic before it knows of it itself.
    while not all(name in known and known[name].partitions for name in names):
        if time.monotonic() > deadline:
            raise StorageError("Kafka made the topics and does not list them", seen=config.kafka.brokers)
        time.sleep(0.1)
        known = admin.list_topics(timeout=5).topics
    return topics


CHANGELOG = {
    "cleanup.policy": "compact",
    "max.compaction.lag.ms": str(DAY_MS),
    "delete.retention.ms": str(DAY_MS),
    "segment.bytes": str(64 << 20),
}
"""Kafka compacts whole segments and never the newest: in small ones a changelog stays near the size of the
state, and a worker whose disk is lost reads little more than that. What was overwritten or deleted in it is
gone from Kafka two to three days later; by default that could take as long as it takes to write a gigabyte.
"""


def ensure_changelog(config: ClusterConfig, name: str) -> None:
    """Make the changelog of a worker's state, or have it compacted in time where it is there. Raises
    :class:`StorageError`."""
    admin = AdminClient({**config.kafka.client(), "log_level": 0})
    try:
        if name not in admin.list_topics(timeout=10).topics:
            topic = NewTopic(
                name,
                num_partitions=config.partitions,
                replication_factor=config.copies,
                config={**CHANGELOG, "min.insync.replicas": str(max(1, config.copies - 1))},
            )
            admin.create_topics([topic])[name].result(timeout=30)
            return
        settings = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in CHANGELOG.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=settings)
        admin.incremental_alter_configs([resource])[resource].result(timeout=30)
    except KafkaException as error:
        if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
            raise StorageError(
                f"Kafka does not set up the topic {name} ({error.args[0].str()})",
                remedy="allow this user to create and alter topics with this prefix",
            ) from error


def _make(
    admin: AdminClient, config: ClusterConfig, name: str, *, partitions: int, settings: dict[str, str]
) -> None:
    topic = NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=config.copies,
        config={
            **settings,
            "min.insync.replicas": str(max(1, config.copies - 1)),
            "message.timestamp.type": "CreateTime",
        },
    )
    try:
        admin.create_topics([topic])[name].result(timeout=30)
    except KafkaException as error:
        if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
            return
        raise StorageError(
            f"Kafka does not make the topic {name} ({error.args[0].str()})",
            remedy="allow this user to create topics, or make it beforehand",
        ) from error
