"""How far the workers are behind what the gateways have acknowledged."""

from __future__ import annotations

import threading

from confluent_kafka import Consumer, KafkaException, TopicPartition

from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics

LOOK_EVERY_S = 2.0


def lag(config: ClusterConfig, topics: Topics) -> dict[str, int]:
    """Messages that each worker role has not committed, over all partitions. Behind ``identity`` the end
    markers of transactions count too, as they follow the messages; one with nothing before it does not.

    Raises :class:`StorageError` when Kafka does not answer.
    """
    return {role: _behind(config, topic, role) for role, topic in sources(topics).items()}


def sources(topics: Topics) -> dict[str, str]:
    """What each worker role reads."""
    return {"fold": topics.events, "identity": topics.ends}


def _behind(config: ClusterConfig, topic: str, role: str) -> int:
    consumer = Consumer({**config.kafka.client(), "group.id": f"{config.prefix}-{role}", "log_level": 0})
    try:
        known = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        parts = [TopicPartition(topic, number) for number in known]
        behind = 0
        for part in consumer.committed(parts, timeout=10):
            low, high = consumer.get_watermark_offsets(part, timeout=10)
            waiting = high - max(part.offset, low)
            if waiting == 1 and role == "identity" and config.exactly_once:
                continue  # a message that could be read would have its marker after it
            behind += waiting
        return behind
    except KafkaException as error:
        raise StorageError(
            f"Kafka does not say how far {role} is ({error.args[0].str()})", seen=config.kafka.brokers
        ) from error
    finally:
        consumer.close()


class LagWatch:
    """Asks every two seconds, in a thread of its own, and keeps the newest answer: who reads it never waits
    for Kafka. ``away`` says why there is none, empty when there is."""

    def __init__(self, config: ClusterConfig, topics: Topics, every_s: float = LOOK_EVERY_S) -> None:
        self.roles: dict[str, int] = {}
        self.away = "not asked yet"
        self._config = config
        self._topics = topics
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name="opportune-lag", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=1.0)

    def _look_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self.roles, self.away = lag(self._config, self._topics), ""
            except StorageError as error:
                self.away = error.what
            self._stopping.wait(self._every_s)
