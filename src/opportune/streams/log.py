"""Kafka as the log that a gateway writes: acknowledged by every in-sync copy, or not at all."""

from __future__ import annotations

import contextlib

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from opportune.decide.request import DecisionRecord
from opportune.engine import entries
from opportune.engine.entries import Entry
from opportune.errors import StorageError
from opportune.events.event import Event
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics

PATIENCE_S = 8.0
"""How long a flush waits for the brokers before those who posted are told to try again."""

ANSWER_S = 0.5

LINGER_MS = 20
"""How long decision records, which nobody waits for, gather; a flush does not wait for it."""


class KafkaLog:
    """``append`` and ``flush`` of one producer; ``flush`` may run in another thread."""

    def __init__(self, config: ClusterConfig, topics: Topics) -> None:
        self._config = config
        self._topics = topics
        self._error: KafkaError | None = None
        self._producer = self._connect()

    def append(self, entry: Entry) -> None:
        """Hand an entry to the producer. Raises :class:`StorageError` when its queue is full."""
        topic, key, time = self._place(entry)
        try:
            self._producer.produce(
                topic, entries.encode(entry), key=key, timestamp=time, on_delivery=self._delivered
            )
        except BufferError as error:
            raise StorageError(
                "more is waiting for Kafka than memory is meant for", remedy="retry later; see /ready"
            ) from error
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error

    def flush(self) -> None:
        """Until the brokers have acknowledged everything. Raises :class:`StorageError` when they have not in
        time, or refused: then nothing that was appended since the last flush may be believed."""
        waiting = self._producer.flush(PATIENCE_S)
        error, self._error = self._error, None
        if error is not None:
            raise self._away(error.str())
        if waiting:
            raise self._away(f"{waiting} messages unacknowledged after {PATIENCE_S:.0f} s")

    def poll(self) -> None:
        """Let the producer report what was delivered."""
        self._producer.poll(0)

    def reopen(self) -> None:
        """Forget what was not acknowledged and begin anew. Raises :class:`StorageError` while no broker
        answers."""
        self._producer.purge()
        with contextlib.suppress(KafkaException):
            self._producer.flush(0.1)
        fresh = self._connect()
        try:
            fresh.list_topics(self._topics.events, timeout=ANSWER_S)
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error
        self._producer, self._error = fresh, None

    @property
    def waiting(self) -> int:
        """Messages that no broker has acknowledged yet."""
        return len(self._producer)

    def _place(self, entry: Entry) -> tuple[str, bytes, int]:
        """(topic, key, Kafka timestamp): a leaf's entries share a partition."""
        if type(entry) is Event:
            time = max(entry.received, 0)
            if entry.kind == "item":
                return self._topics.items, entry.item_id.encode("utf-8", "surrogatepass"), time
            key = entry.identifiers[0] if entry.identifiers else entry.message_id
            return self._topics.events, key.encode("utf-8", "surrogatepass"), time
        if type(entry) is DecisionRecord:
            key = entry.identifiers[0] if entry.identifiers else entry.decision_id
            return self._topics.events, key.encode("utf-8", "surrogatepass"), entry.time
        return self._topics.account, b"", 0

    def _connect(self) -> Producer:
        return Producer(
            {
                **self._config.kafka.client(),
                "acks": "all",
                "enable.idempotence": True,
                # As the fold workers and every Java client: a leaf's events and its journal are in partitions
                # of the same number, so each journal partition is in the order of its events.
                "partitioner": "murmur2",
                "linger.ms": LINGER_MS,
                "compression.type": "lz4",
                "delivery.timeout.ms": int(PATIENCE_S * 1000),
                "queue.buffering.max.messages": 200_000,
                "log_level": 0,
            }
        )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._error = error

    def _away(self, told: str) -> StorageError:
        return StorageError(
            f"Kafka does not acknowledge ({told})",
            seen=self._config.kafka.brokers,
            remedy="retry later; what was not acknowledged may or may not be stored, and counts once",
        )
