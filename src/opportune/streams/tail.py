"""Following what all processes learn from: the journal and the catalogue's updates, from the beginning on."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heapreplace

import msgspec
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from opportune.engine.entries import Entry
from opportune.errors import StorageError
from opportune.streams import packs
from opportune.streams.config import ClusterConfig

log = logging.getLogger("opportune.streams")

AT_ONCE = 500

HELD_S = 0.2
"""So long what has come waits for what a gateway received before it and another partition brings later."""

PATIENCE_S = 5.0
"""The same where a partition is known to have more that does not come."""

MOST_HELD = 200_000

_Waiting = tuple[int, str, int, int, int, int, msgspec.Raw, float]
"""When a gateway received it, topic, partition, offset, place in the message, how many come after it there,
entry, when it came here; handed on in this order."""

Reached = dict[tuple[str, int], tuple[int, int]]
"""Topic and partition -> the offset to read next, and how many entries of that message were had before."""

Ends = dict[tuple[str, int], int]
"""Topic and partition -> one past the last message."""


class Tail:
    """All partitions of some topics, committed entries only; no consumer group, no offsets kept.

    Entries come in the order in which gateways received them (then by partition), as far as the partitions
    can be read alike: two replicas that follow the same topics learn in the same order, and so does one
    machine. Within a partition the order is Kafka's.
    """

    def __init__(
        self,
        config: ClusterConfig,
        topics: Iterable[str],
        *,
        start: Reached | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``start`` is where to go on; partitions that it does not name begin with their first entry."""
        self._kafka = config.kafka.client()
        self._prefix = config.prefix
        self._timer = timer
        self._consumer = Consumer(
            {
                **self._kafka,
                "group.id": f"{config.prefix}-tail",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                # Where ``start`` names what Kafka has deleted: with what is left, not with what comes next.
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
        known = self._consumer.list_topics(timeout=10).topics
        self.taken: Reached = dict(start or {})
        self._parts = [
            TopicPartition(topic, number, self.taken.get((topic, number), (OFFSET_BEGINNING, 0))[0])
            for topic in topics
            for number in known[topic].partitions
        ]
        self._begin = {(part.topic, part.partition): max(part.offset, 0) for part in self._parts}
        self._consumer.assign(self._parts)
        self._waiting: dict[tuple[str, int], deque[_Waiting]] = {
            (part.topic, part.partition): deque() for part in self._parts
        }
        self.read = 0

    def entries(self, timeout_s: float = 0.0) -> Iterator[Entry]:
        """What has come since the last call and waits for nothing before it, up to :data:`AT_ONCE` more than
        was held; waits ``timeout_s`` for the first."""
        found = self._consumer.consume(AT_ONCE, timeout=timeout_s)
        now = self._timer()
        for message in found:
            if message.error() is not None:
                log.warning("a partition cannot be read: %s", message.error())
                continue
            topic, number = message.topic(), message.partition()
            offset, value = message.offset(), message.value()
            assert topic is not None
            assert number is not None
            assert offset is not None
            assert value is not None, "nothing here is compacted"
            had = self.taken.get((topic, number), (0, 0))
            pack, skipped = packs.split(value), had[1] if had[0] == offset else 0
            self._waiting[topic, number].extend(
                (at, topic, number, offset, place, len(pack) - place - 1, raw, now)
                for place, (at, raw) in enumerate(pack)
                if place >= skipped
            )
        for _, topic, number, offset, place, left, raw, _ in self._next():
            self.read += 1
            self.taken[topic, number] = (offset, place + 1) if left else (offset + 1, 0)
            entry = packs.read(raw)
            if entry is not None:
                yield entry

    def _next(self) -> Iterator[_Waiting]:
        """Merge the partitions by time. While all have something here the merge is exact; when one has run
        dry, the others wait for it."""
        heads = [held[0] for held in self._waiting.values() if held]
        if not heads:
            return
        heapify(heads)
        now, patience = self._timer(), self._patience()
        crowded = sum(map(len, self._waiting.values())) > MOST_HELD
        while heads:
            head = heads[0]
            if now - head[-1] < patience and not crowded:
                return
            held = self._waiting[head[1], head[2]]
            held.popleft()
            yield head
            if held:
                heapreplace(heads, held[0])
            else:
                heappop(heads)
                patience = self._patience()

    def _patience(self) -> float:
        """How long what is here must wait for what is not."""
        dry = [part for part in self._parts if not self._waiting[part.topic, part.partition]]
        if not dry:
            return 0.0
        for part, at in self._positions(dry):
            _, high = self._consumer.get_watermark_offsets(part, cached=True)
            if high < 0 or high > at:
                return PATIENCE_S
        return HELD_S

    def _positions(self, parts: list[TopicPartition]) -> Iterator[tuple[TopicPartition, int]]:
        """Where each will be read next. A consumer knows that only of partitions that it has read of."""
        for part in self._consumer.position(parts):
            at = part.offset
            yield part, at if at >= 0 else self._begin[part.topic, part.partition]

    def followed(self) -> Reached:
        """Where another one would go on that has what was handed on here."""
        found = dict(self.taken)
        for part, at in self._positions(self._parts):
            place = part.topic, part.partition
            if not self._waiting[place] and at > found.get(place, (0, 0))[0]:
                found[place] = (at, 0)  # past markers of transactions, which are no entries
        return found

    @property
    def held(self) -> int:
        """Entries known to this consumer that were not handed on yet; markers of transactions count too. Asks
        nobody."""
        behind = sum(map(len, self._waiting.values()))
        for part, at in self._positions(self._parts):
            _, high = self._consumer.get_watermark_offsets(part, cached=True)
            behind += max(0, high - at)
        return behind

    def ends(self) -> Ends:
        """Where every partition ends now, with what no transaction has committed yet."""
        return self._asked(OFFSET_END)

    def _asked(self, which: int) -> Ends:
        """Offsets of all partitions in one question, by a consumer that fetches nothing: behind a fetch every
        partition would wait a tenth of a second for its answer."""
        asking = Consumer({**self._kafka, "group.id": f"{self._prefix}-tail", "log_level": 0})
        try:
            wanted = [TopicPartition(part.topic, part.partition, which) for part in self._parts]
            found = asking.offsets_for_times(wanted, timeout=10)
        except KafkaException as error:
            raise StorageError(f"Kafka does not say where its topics end ({error.args[0].str()})") from error
        finally:
            asking.close()
        return {(part.topic, part.partition): part.offset for part in found}

    def reached(self, ends: Ends) -> bool:
        """Whether everything before ``ends`` has been read and handed on."""
        return not any(self._waiting.values()) and all(
            at >= ends[part.topic, part.partition] for part, at in self._positions(self._parts)
        )

    def check_start(self) -> int:
        """How many messages were deleted that ``start`` has not seen. Raises :class:`StorageError` when Kafka
        holds less than ``start`` has seen: then it is another journal."""
        lost = 0
        lows, highs = self._asked(OFFSET_BEGINNING), self._asked(OFFSET_END)
        for place, begin in self._begin.items():
            if begin > highs[place]:
                topic, number = place
                raise StorageError(
                    f"{topic} ends at {highs[place]} in partition {number}, but was followed to {begin}",
                    remedy="it is another journal: begin without what was learnt of the old one",
                )
            lost += max(0, lows[place] - begin) if place in self.taken else 0
            self._begin[place] = max(lows[place], begin)
        return lost

    def close(self) -> None:
        self._consumer.close()


def catch_up(tail: Tail, wait_s: float = 600.0) -> Iterator[Entry]:
    """Everything up to where the topics end now. Raises :class:`StorageError` when that takes too long."""
    ends, deadline = tail.ends(), time.monotonic() + wait_s
    while not tail.reached(ends):
        yield from tail.entries(0.2)
        if time.monotonic() > deadline:
            raise StorageError("the topics cannot be read to their end", remedy="see the log; start again")
