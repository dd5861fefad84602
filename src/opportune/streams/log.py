"""Kafka as the log that a gateway writes: acknowledged by every in-sync copy, or not at all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from opportune.decide.request import DecisionRecord
from opportune.engine import entries
from opportune.engine.entries import Entry
from opportune.errors import StorageError
from opportune.events.event import Event
from opportune.experiments.switch import Switch
from opportune.privacy.order import Order
from opportune.streams import packs
from opportune.streams.config import ClusterConfig
from opportune.streams.shards import Shards
from opportune.streams.topics import Topics

PATIENCE_S = 8.0
"""How long a flush waits for the brokers before those who posted are told to try again."""

ANSWER_S = 0.5

LINGER_S = 0.02
"""How long decision records, which nobody waits for, gather; a flush does not wait for it."""


class _Pack:
    """What goes into one message: entries of one partition of one topic."""

    __slots__ = ("begun", "bytes", "entries", "time")

    def __init__(self, time: int, begun: float) -> None:
        self.entries: list[tuple[int, msgspec.Raw]] = []
        self.bytes = 0
        self.time = time
        self.begun = begun


class KafkaLog:
    """``append`` and ``flush`` of one producer; ``flush`` may run in another thread. What is appended between
    two flushes shares messages, one for every partition that it goes to."""

    def __init__(
        self, config: ClusterConfig, topics: Topics, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._topics = topics
        self._timer = timer
        self._shards = Shards(config.partitions)
        self._error: KafkaError | None = None
        self._open: dict[tuple[str, int], _Pack] = {}
        self._lock = threading.Lock()
        self._producer = self._connect()

    def append(self, entry: Entry) -> None:
        """Take an entry into the pack of its partition. Raises :class:`StorageError` when a pack is full and
        the producer's queue is too."""
        topic, key, received = self._place(entry)
        data = entries.encode(entry)
        place = topic, self._shards.of(key)
        with self._lock:
            pack = self._open.get(place)
            if pack is None:
                pack = self._open[place] = _Pack(received, self._timer())
            pack.entries.append((received, msgspec.Raw(data)))
            pack.bytes += len(data)
            if len(pack.entries) >= packs.MOST_PACKED or pack.bytes >= packs.MOST_BYTES:
                self._produce(place)

    def send(self, older_than_s: float = 0.0) -> None:
        """Hand packs to the producer that have been open for so long. Raises :class:`StorageError` when its
        queue is full."""
        with self._lock:
            now = self._timer()
            for place in [p for p, pack in self._open.items() if now - pack.begun >= older_than_s]:
                self._produce(place)

    def flush(self) -> None:
        """Until the brokers have acknowledged everything. Raises :class:`StorageError` when they have not in
        time, or refused: then nothing that was appended since the last flush may be believed."""
        self.send()
        waiting = self._producer.flush(PATIENCE_S)
        error, self._error = self._error, None
        if error is not None:
            raise self._away(error.str())
        if waiting:
            raise self._away(f"{waiting} messages unacknowledged after {PATIENCE_S:.0f} s")

    def poll(self) -> None:
        """Send what nobody waits for once it has gathered; let the producer report what was delivered."""
        if self._open:
            self.send(LINGER_S)
        self._producer.poll(0)

    def reopen(self) -> None:
        """Forget what was not acknowledged and begin anew. Raises :class:`StorageError` while no broker
        answers."""
        with self._lock:
            self._open.clear()
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
        return len(self._producer) + len(self._open)

    def _produce(self, place: tuple[str, int]) -> None:
        topic, shard = place
        pack = self._open.pop(place)
        try:
            self._producer.produce(
                topic,
                packs.encode(pack.entries),
                key=self._shards.keys[shard],
                timestamp=pack.time,
                on_delivery=self._delivered,
            )
        except BufferError as error:
            raise StorageError(
                "more is waiting for Kafka than memory is meant for", remedy="retry later; see /ready"
            ) from error
        except KafkaException as error:
            raise self._away(error.args[0].str()) from error

    def _place(self, entry: Entry) -> tuple[str, bytes, int]:
        """(topic, what decides on the partition, time): a leaf's entries share a partition."""
        if type(entry) is Event:
            received = max(entry.received, 0)
            if entry.kind == "item":
                return self._topics.items, _bytes(entry.item_id), received
            key = entry.identifiers[0] if entry.identifiers else entry.message_id
            return self._topics.events, _bytes(key), received
        if type(entry) is DecisionRecord:
            key = entry.identifiers[0] if entry.identifiers else entry.decision_id
            return self._topics.events, _bytes(key), entry.time
        if type(entry) is Switch:
            # With the catalogue: read by every process from the start, kept for good.
            return self._topics.items, _bytes(entry.experiment), entry.time
        if type(entry) is Order:
            return self._topics.events, _bytes(entry.name), entry.time
        return self._topics.account, b"", 0

    def _connect(self) -> Producer:
        return Producer(
            {
                **self._config.kafka.client(),
                "acks": "all",
                "enable.idempotence": True,
                # As the fold workers and every Java client: the keys of partitions are chosen by it.
                "partitioner": "murmur2",
                "linger.ms": 1,
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


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
