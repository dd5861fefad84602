"""What processes of a cluster publish for each other to load: snapshots and trained models, in a compacted
topic.

Partition 0 says what there is, one announcement under each name; partition 1 holds the bytes in pieces. An
announcement is written when every piece is acknowledged, so nobody sees half of one; under the same name the
newer takes the place of the older, and Kafka forgets what was replaced.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

from opportune.clock import Millis
from opportune.errors import Corrupt, FolderTooNew, StorageError
from opportune.streams.config import ClusterConfig

log = logging.getLogger("opportune.streams")

FORMAT = 1
ANNOUNCED, PIECES = 0, 1
"""Partitions."""

PIECE_BYTES = 512 << 10
"""Half of what brokers accept by default."""

PATIENCE_S = 30.0

Kind = Literal["snapshot", "model", "registry"]


class Artifact(msgspec.Struct, frozen=True):
    """An announcement. ``about`` is the publisher's word on it; ``digest`` is the SHA-256 of its bytes, which
    lie in ``pieces`` messages from offset ``first`` to ``last``, none when there are no bytes."""

    name: str
    kind: Kind
    time: Millis
    about: dict[str, Any] = {}
    bytes: int = 0
    pieces: int = 0
    first: int = 0
    last: int = -1
    digest: str = ""
    format: int = FORMAT


_decode = msgspec.msgpack.Decoder(Artifact).decode


class Artifacts:
    """One thread at a time. Raises :class:`StorageError` where Kafka does not answer."""

    def __init__(self, config: ClusterConfig, topic: str) -> None:
        self._config = config
        self._topic = topic
        self._consumer: Consumer | None = None
        self.known: dict[str, Artifact] = {}

    # -- what there is

    def follow(self) -> set[str]:
        """Read the announcements up to the last one there is now; the names of which there is news."""
        if self._consumer is None:
            self._consumer = self._connect()
            self._consumer.assign([TopicPartition(self._topic, ANNOUNCED, OFFSET_BEGINNING)])
        news: set[str] = set()
        for message in _until(self._consumer, self._topic, ANNOUNCED):
            name = (message.key() or b"").decode("utf-8", "replace")
            value = message.value()
            news.add(name)
            if value is None:
                self.known.pop(name, None)
                continue
            try:
                self.known[name] = _decode(value)
            except msgspec.MsgspecError as error:
                log.error("an announcement that cannot be read was passed over: %s %s", name, error)
        return news

    def of_kind(self, kind: Kind) -> list[Artifact]:
        """Those known after :meth:`follow`, the newest first."""
        found = [artifact for artifact in self.known.values() if artifact.kind == kind]
        return sorted(found, key=lambda artifact: (artifact.time, artifact.name), reverse=True)

    def read(self, artifact: Artifact) -> Iterator[bytes]:
        """Its pieces, one after another. Raises :class:`FolderTooNew` when a newer version of us published
        it, and :class:`Corrupt`, after the last piece, when the bytes are not those that were announced: only
        then may they be believed."""
        if artifact.format > FORMAT:
            raise FolderTooNew(
                f"it was published by a newer version (format {artifact.format}, we read {FORMAT})",
                where=artifact.name,
                remedy="upgrade opportune here too",
            )
        digest, number = hashlib.sha256(), 0
        consumer = self._connect()
        try:
            if artifact.pieces:
                consumer.assign([TopicPartition(self._topic, PIECES, artifact.first)])
                for message in _until(consumer, self._topic, PIECES, artifact.last + 1):
                    if message.key() == _key(artifact.name, number) and message.value() is not None:
                        data = message.value() or b""
                        number += 1
                        digest.update(data)
                        yield data
        finally:
            consumer.close()
        if number != artifact.pieces or digest.hexdigest() != artifact.digest:
            raise Corrupt(
                "the bytes in Kafka are not those that were announced",
                seen=f"{number} of {artifact.pieces} pieces",
                where=f"{self._topic} {artifact.name}",
                remedy="an older one, or the journal, will do; the next to be published takes its place",
            )

    # -- publishing

    def publish(
        self, name: str, kind: Kind, at: Millis, about: dict[str, Any], data: Iterable[bytes] = ()
    ) -> Artifact:
        """Put ``data``, any pieces of bytes, in the place of what had this name."""
        before = self.known.get(name)
        producer = _Sender(self._config, self._topic)
        digest, total, number = hashlib.sha256(), 0, 0
        for piece in _even(data):
            digest.update(piece)
            total += len(piece)
            producer.send(PIECES, _key(name, number), piece)
            number += 1
        offsets = producer.flush()
        artifact = Artifact(
            name, kind, at, about, total, number,
            offsets[0] if offsets else 0, offsets[-1] if offsets else -1, digest.hexdigest(),
        )  # fmt: skip
        producer.send(ANNOUNCED, name.encode(), msgspec.msgpack.encode(artifact))
        for gone in range(number, before.pieces if before else 0):
            producer.send(PIECES, _key(name, gone), None)
        producer.flush()
        self.known[name] = artifact
        return artifact

    def withdraw(self, name: str) -> None:
        """Take it away: nobody finds it from now on, and Kafka forgets it."""
        before = self.known.pop(name)
        producer = _Sender(self._config, self._topic)
        producer.send(ANNOUNCED, name.encode(), None)
        for number in range(before.pieces):
            producer.send(PIECES, _key(name, number), None)
        producer.flush()

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _connect(self) -> Consumer:
        return Consumer(
            {
                **self._config.kafka.client(),
                "group.id": f"{self._config.prefix}-artifacts",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 16_384,
                "log_level": 0,
            }
        )


class _Sender:
    """One producer; ``flush`` gives the offsets that were acknowledged since the last one."""

    def __init__(self, config: ClusterConfig, topic: str) -> None:
        self._where = config.kafka.brokers
        self._topic = topic
        self._offsets: list[int] = []
        self._error = ""
        self._producer = Producer(
            {
                **config.kafka.client(),
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.kbytes": 32_768,
                "delivery.timeout.ms": int(PATIENCE_S * 1000),
                "log_level": 0,
            }
        )

    def send(self, partition: int, key: bytes, value: bytes | None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key=key, partition=partition, on_delivery=self._delivered
                )
                break
            except BufferError:
                if time.monotonic() > deadline:
                    raise self._away("its queue stays full") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._away(error.args[0].str()) from error
        self._producer.poll(0)

    def flush(self) -> list[int]:
        left = self._producer.flush(PATIENCE_S)
        if left or self._error:
            raise self._away(self._error or f"{left} messages unacknowledged")
        offsets, self._offsets = sorted(self._offsets), []
        return offsets

    def _delivered(self, error: Any, message: Message) -> None:
        offset = message.offset()
        if error is not None:
            self._error = error.str()
        elif offset is not None:
            self._offsets.append(offset)

    def _away(self, told: str) -> StorageError:
        return StorageError(
            f"Kafka does not take what is published ({told})",
            seen=self._where,
            remedy="it is tried again; what was published before stands",
        )


def _until(consumer: Consumer, topic: str, partition: int, end: int | None = None) -> Iterator[Message]:
    """The messages before ``end``, or before where the partition ends now. Raises :class:`StorageError`."""
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        end = high if end is None else min(end, high)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            [at] = consumer.position([TopicPartition(topic, partition)])
            if end == 0 or at.offset >= end:
                return
            message = consumer.poll(0.2)
            if message is not None:
                if message.error() is not None:
                    raise KafkaException(message.error())
                deadline = time.monotonic() + PATIENCE_S
                if (message.offset() or 0) < end:
                    yield message
            elif time.monotonic() > deadline:
                raise StorageError(
                    f"{topic} cannot be read to offset {end}", seen=at.offset, remedy="it is tried again"
                )
    except KafkaException as error:
        raise StorageError(f"{topic} cannot be read ({error.args[0].str()})") from error


def _key(name: str, number: int) -> bytes:
    return f"{name}/{number:06d}".encode()


def _even(data: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size, the last one shorter."""
    held = bytearray()
    for part in data:
        held += part
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)
