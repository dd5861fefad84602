"""Where in Kafka and Redis bytes of a person still are, and until when: the check after an erasure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from opportune.clock import Millis, system_clock
from opportune.errors import StorageError
from opportune.events.event import Identifier
from opportune.privacy.needles import needles, occurrences
from opportune.streams.config import ClusterConfig
from opportune.streams.serving_copy import FADING_MS, STAMP_BYTES, ServingCopy

AT_ONCE = 5_000
QUIET_S = 10.0
YEAR_MS = 365 * 24 * 3_600_000


class Leftover(msgspec.Struct):
    """``found`` messages of a topic (or keys of Redis) of ``read`` name the person, the newest of ``newest``
    (0 where nothing says when). ``until`` is when the broker has taken all of them, by retention or, in a
    changelog of somebody who was erased, by compaction; None where nothing says so."""

    where: str
    read: int = 0
    found: int = 0
    newest: Millis = 0
    until: Millis | None = None


def leftovers(config: ClusterConfig, copy: ServingCopy, identifiers: Sequence[Identifier]) -> list[Leftover]:
    """Every topic that begins with the prefix, its changelogs, and Redis, searched for the identifiers as
    the search of a data folder does. O(everything that they hold). Raises :class:`StorageError`."""
    patterns = needles(identifiers)
    consumer = Consumer(
        {
            **config.kafka.client(),
            "group.id": f"{config.prefix}-search",
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "log_level": 0,
        }
    )
    try:
        topics = consumer.list_topics(timeout=10).topics
        begin = (f"{config.prefix}.", f"changelog__{config.prefix}-")
        names = sorted(name for name in topics if name.startswith(begin))
        kept = _kept_ms(config, names)
        found = [
            _searched(consumer, name, list(topics[name].partitions), patterns, kept[name]) for name in names
        ]
    except KafkaException as error:
        raise StorageError(
            f"Kafka does not answer ({error.args[0].str()})", seen=config.kafka.brokers
        ) from error
    finally:
        consumer.close()
    return [*found, _in_redis(copy, patterns)]


def _in_redis(copy: ServingCopy, patterns: Sequence[bytes]) -> Leftover:
    told, fading = Leftover("redis"), 0
    for key, value in copy.scan():
        told.read += 1
        if _names(key + b" " + value, patterns):
            told.found += 1
            fading += len(value) == STAMP_BYTES
    if told.found and told.found == fading:
        told.until = system_clock() + FADING_MS
    return told


def _searched(
    consumer: Consumer, name: str, numbers: Sequence[int], patterns: Sequence[bytes], kept_ms: int | None
) -> Leftover:
    told = Leftover(name)
    for data, at in _messages(consumer, name, numbers):
        told.read += 1
        if _names(data, patterns):
            told.found += 1
            told.newest = max(told.newest, at)
    if told.found and kept_ms is not None:
        told.until = told.newest + kept_ms
    return told


def _messages(consumer: Consumer, name: str, numbers: Sequence[int]) -> Iterator[tuple[bytes, Millis]]:
    """Key and value together, and the time of the message."""
    parts = [TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers]
    ends = {part.partition: consumer.get_watermark_offsets(part, timeout=10) for part in parts}
    consumer.assign([part for part in parts if ends[part.partition][1] > ends[part.partition][0]])
    deadline = time.monotonic() + QUIET_S
    while not all(
        low == high or part.offset >= high
        for part in consumer.position(parts)
        for low, high in (ends[part.partition],)
    ):
        messages = consumer.consume(AT_ONCE, timeout=0.5)
        for message in messages:
            if message.error() is None:
                yield (message.key() or b"") + b" " + (message.value() or b""), max(message.timestamp()[1], 0)
        if messages:
            deadline = time.monotonic() + QUIET_S
        elif time.monotonic() > deadline:
            raise StorageError("the topic cannot be read to its end", seen=name, remedy="try again")


def _names(data: bytes, patterns: Sequence[bytes]) -> bool:
    text = data.lower()
    return any(next(occurrences(text, pattern), -1) >= 0 for pattern in patterns)


def _kept_ms(config: ClusterConfig, names: Sequence[str]) -> dict[str, int | None]:
    """How long each topic keeps a message at most; of one that is compacted, once something newer, or the
    deletion, has taken its place. A segment goes as a whole, when its newest message is past its time, so as
    long again as segments are filled. None where it is for good, or for as long as it takes to fill one."""
    admin = AdminClient(dict(config.kafka.client()))
    kept: dict[str, int | None] = {}
    for resource, future in admin.describe_configs(
        [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    ).items():
        settings = {name: entry.value for name, entry in future.result(timeout=30).items()}
        keep = int(settings["retention.ms"])
        roll = int(settings["segment.ms"])
        if settings["cleanup.policy"] == "compact":
            keep, roll = int(settings["delete.retention.ms"]), int(settings["max.compaction.lag.ms"])
        kept[resource.name] = keep + roll if keep >= 0 and roll < YEAR_MS else None
    return kept
