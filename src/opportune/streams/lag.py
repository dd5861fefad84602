"""How far the workers are behind what the gateways have acknowledged."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics


def lag(config: ClusterConfig, topics: Topics) -> dict[str, int]:
    """Messages that each worker role has not committed, over all partitions. Behind ``identity`` the end
    markers of transactions count too, one at most for every partition and commit that nobody followed.

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
            behind += high - max(part.offset, low)
        return behind
    except KafkaException as error:
        raise StorageError(
            f"Kafka does not say how far {role} is ({error.args[0].str()})", seen=config.kafka.brokers
        ) from error
    finally:
        consumer.close()
