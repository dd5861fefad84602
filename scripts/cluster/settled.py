"""Waiting until the workers have folded everything that is in their topics."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics


def settle(
    config: ClusterConfig,
    topics: Topics,
    *,
    within_s: float = 120.0,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Until the fold workers have committed all of ``events`` and then the identity workers all of ``ends``.

    Raises :class:`TimeoutError` with what is left.
    """
    settle_folds(config, topics, within_s=within_s, meanwhile=meanwhile)
    _settle(config, topics.ends, "identity", within_s, meanwhile)


def settle_folds(
    config: ClusterConfig,
    topics: Topics,
    *,
    within_s: float = 300.0,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Until the fold workers have committed all of ``events``. Raises :class:`TimeoutError`."""
    _settle(config, topics.events, "fold", within_s, meanwhile)


def _settle(
    config: ClusterConfig, topic: str, role: str, within_s: float, meanwhile: Callable[[], None]
) -> None:
    deadline = time.monotonic() + within_s
    ends = ends_of(config, topic)
    while left := _left(config, role, ends):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the {role} workers are {left} messages behind in {topic}")
        meanwhile()
        time.sleep(0.05)


def ends_of(config: ClusterConfig, topic: str) -> dict[tuple[str, int], int]:
    """One past the last committed message of every partition: markers of transactions do not count, no
    consumer ever commits past the last of them."""
    consumer = _consumer(config, f"{config.prefix}-ends")
    try:
        parts = [
            TopicPartition(topic, number, OFFSET_BEGINNING)
            for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        marks = {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=10) for p in parts}
        ends = dict.fromkeys(marks, 0)
        # A partition may be empty because all that it had is too old to be kept.
        parts = [p for p in parts if marks[p.topic, p.partition][0] < marks[p.topic, p.partition][1]]
        consumer.assign(parts)
        while any(p.offset < marks[p.topic, p.partition][1] for p in consumer.position(parts)):
            for message in consumer.consume(1_000, timeout=0.2):
                if message.error() is None:
                    ends[message.topic(), message.partition()] = message.offset() + 1
        return ends
    finally:
        consumer.close()


def _left(config: ClusterConfig, role: str, ends: dict[tuple[str, int], int]) -> int:
    consumer = _consumer(config, f"{config.prefix}-{role}")
    try:
        committed = consumer.committed([TopicPartition(*part) for part in ends], timeout=10)
    finally:
        consumer.close()
    return sum(max(0, ends[p.topic, p.partition] - max(p.offset, 0)) for p in committed)


def _consumer(config: ClusterConfig, group: str) -> Consumer:
    return Consumer(
        {
            **config.kafka.client(),
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
