"""Following what all processes learn from: the journal and the catalogue's updates, from the beginning on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from opportune.engine import entries
from opportune.engine.entries import Entry
from opportune.errors import StorageError
from opportune.streams.config import ClusterConfig

log = logging.getLogger("opportune.streams")

AT_ONCE = 500


class Tail:
    """All partitions of some topics, committed entries only; no consumer group, no offsets kept."""

    def __init__(self, config: ClusterConfig, topics: Iterable[str]) -> None:
        self._brokers = config.kafka.brokers
        self._consumer = Consumer(
            {
                **config.kafka.client(),
                "group.id": f"{config.prefix}-tail",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        known = self._consumer.list_topics(timeout=10).topics
        self._parts = [
            TopicPartition(topic, number, OFFSET_BEGINNING)
            for topic in topics
            for number in known[topic].partitions
        ]
        self._consumer.assign(self._parts)
        self.read = 0

    def entries(self, timeout_s: float = 0.0) -> Iterator[Entry]:
        """What has come since the last call, up to :data:`AT_ONCE`; waits ``timeout_s`` for the first."""
        for message in self._consumer.consume(AT_ONCE, timeout=timeout_s):
            if message.error() is not None:
                log.warning("a partition cannot be read: %s", message.error())
                continue
            self.read += 1
            value = message.value()
            try:
                assert value is not None, "nothing here is compacted"
                yield entries.decode(value)
            except msgspec.MsgspecError as error:
                log.error("a message that is no entry was passed over: %s", error)

    def behind(self) -> int:
        """Messages between here and the ends that were there when it was asked."""
        behind = 0
        try:
            for part in self._consumer.position(self._parts):
                low, high = self._consumer.get_watermark_offsets(part, timeout=5)
                behind += high - max(part.offset, low)
        except KafkaException as error:
            raise StorageError(
                f"Kafka does not say where its topics end ({error.args[0].str()})", seen=self._brokers
            ) from error
        return behind

    def ends(self) -> dict[tuple[str, int], int]:
        """Where every partition ends now."""
        return {
            (p.topic, p.partition): self._consumer.get_watermark_offsets(p, timeout=10)[1]
            for p in self._parts
        }

    def reached(self, ends: dict[tuple[str, int], int]) -> bool:
        """Whether everything before ``ends`` has been read."""
        return all(
            part.offset >= ends[part.topic, part.partition]
            or (part.offset < 0 and ends[part.topic, part.partition] == 0)
            for part in self._consumer.position(self._parts)
        )

    def close(self) -> None:
        self._consumer.close()


def catch_up(tail: Tail, wait_s: float = 600.0) -> Iterator[Entry]:
    """Everything up to where the topics end now. Raises :class:`StorageError` when that takes too long."""
    ends, deadline = tail.ends(), time.monotonic() + wait_s
    while not tail.reached(ends):
        yield from tail.entries(0.2)
        if time.monotonic() > deadline:
            raise StorageError("the topics cannot be read to their end", remedy="see the log; start again")
