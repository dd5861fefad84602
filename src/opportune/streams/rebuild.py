"""Redis made again from Kafka: the workers' changelogs hold every record that the serving copy holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from opportune.errors import StorageError
from opportune.profiles.schema import ProfileSchema
from opportune.streams import lineage, sessions
from opportune.streams.config import ClusterConfig
from opportune.streams.marks import unpacked
from opportune.streams.serving_copy import END, LEAF, SESSIONS, STONE, ServingCopy, stamped
from opportune.streams.stones import STATE, Hashes, Stone
from opportune.streams.stones import unpacked as unpacked_stone
from opportune.streams.topics import Topics

BAR = b"|"
"""How Quix Streams keys our record in a changelog: the message's key, a bar, the state's key."""

AT_ONCE = 5_000
QUIET_S = 10.0


def changelog(config: ClusterConfig, role: str, topic: str) -> str:
    """The name that Quix Streams gives the changelog of a worker's state."""
    return f"changelog__{config.prefix}-{role}--{topic}--default"


def rebuild(
    config: ClusterConfig,
    topics: Topics,
    schema: ProfileSchema,
    copy: ServingCopy,
    *,
    progress: Callable[[int], None] = lambda records: None,
) -> int:
    """Write every leaf and every end of links back into Redis; how many records were read.

    Workers and decisions go on meanwhile: what they have written since is newer and stays. Raises
    :class:`StorageError` when Kafka or Redis does not answer, or when no worker ever ran.
    """
    count = 0
    for role, topic, kind in (("fold", topics.events, LEAF), ("identity", topics.ends, END)):
        newest: dict[bytes, bytes] = {}
        stones: dict[bytes, Stone] = {}
        gone: dict[bytes, bytes] = {}
        for key, value in _records(config, changelog(config, role, topic)):
            identifier = key.partition(BAR)[2]
            if identifier.startswith(STATE):
                if value is not None:
                    mark = identifier.removeprefix(STATE)
                    stone = stones[mark] = unpacked_stone(value)
                    if kind == LEAF:
                        newest[copy.key(STONE, mark)] = stamped(stone.seq, value)
            elif identifier.startswith(sessions.STATE):
                name = identifier.removeprefix(sessions.STATE)
                if value is None:
                    gone[copy.key(SESSIONS, name)] = name
                else:
                    newest[copy.key(SESSIONS, name)] = stamped(sessions.seq_of(value), value)
            elif value is None:
                gone[copy.key(kind, identifier)] = identifier
            elif identifier != lineage.KEY and (data := unpacked(value)[1]):
                newest[copy.key(kind, identifier)] = stamped(schema.decode(data).offset, data)
            count += 1
            if len(newest) >= AT_ONCE:
                copy.put(newest)
                newest.clear()
                progress(count)
        copy.put(newest)
        copy.put(_deleted(copy.hashes, gone, stones))
        progress(count)
    return count


def _deleted(
    hashes: Hashes, gone: Mapping[bytes, bytes], stones: Mapping[bytes, Stone]
) -> dict[bytes, bytes]:
    """Records of people who were erased, as empty ones that are newer than what their changelog still had.
    ``gone`` tells by key of Redis who they were."""
    return {
        key: stamped(stone.seq, b"")
        for key, name in gone.items()
        if (stone := stones.get(hashes.of(name))) is not None
    }


def _records(config: ClusterConfig, topic: str) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of every committed record up to where the topic ends now; no value where it was
    deleted."""
    consumer = Consumer(
        {
            **config.kafka.client(),
            "group.id": f"{config.prefix}-rebuild",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        known = consumer.list_topics(timeout=10).topics
        if topic not in known:
            raise StorageError(
                "there is no changelog to read", seen=topic, remedy="start the workers once, or check prefix"
            )
        parts = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in known[topic].partitions]
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in parts}
        consumer.assign([p for p in parts if ends[p.partition]])
        open_parts = {number for number, end in ends.items() if end}
        while open_parts:
            found = consumer.consume(AT_ONCE, timeout=QUIET_S)
            for message in found:
                if message.error() is None:
                    yield message.key(), message.value()
            reached = {p.partition: p.offset for p in consumer.position(parts)}
            open_parts = {n for n in open_parts if reached[n] < ends[n]}
            if not found and open_parts:
                raise StorageError("the changelog cannot be read to its end", seen=topic, remedy="try again")
    except KafkaException as error:
        raise StorageError(
            f"Kafka does not answer ({error.args[0].str()})",
            seen=config.kafka.brokers,
            remedy="check that the brokers run",
        ) from error
    finally:
        consumer.close()
