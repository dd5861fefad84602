"""What is published is there whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from opportune.errors import Corrupt
from opportune.streams.artifacts import ANNOUNCED, PIECE_BYTES, Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics

LARGE = bytes(range(256)) * (PIECE_BYTES // 100)


@pytest.fixture
def mine(config: ClusterConfig, topics: Topics) -> Iterator[Artifacts]:
    made = Artifacts(config, topics.artifacts)
    yield made
    made.close()


@pytest.fixture
def theirs(config: ClusterConfig, topics: Topics) -> Iterator[Artifacts]:
    made = Artifacts(config, topics.artifacts)
    yield made
    made.close()


def test_others_read_what_was_published_last_under_a_name(mine: Artifacts, theirs: Artifacts) -> None:
    assert theirs.follow() == set()
    made = mine.publish("a", "snapshot", 1_000, {"items": 7}, [LARGE[:10], LARGE[10:]])
    assert made.pieces == -(-len(LARGE) // PIECE_BYTES) == 3
    mine.publish("b", "model", 2_000, {})
    assert theirs.follow() == {"a", "b"}
    assert theirs.known["a"] == made
    assert b"".join(theirs.read(theirs.known["a"])) == LARGE
    assert list(theirs.read(theirs.known["b"])) == []
    mine.publish("a", "snapshot", 3_000, {}, [b"small"])
    assert b"".join(theirs.read(theirs.known["a"])) == LARGE, "until Kafka forgets what was replaced"
    assert theirs.follow() == {"a"}
    assert b"".join(theirs.read(theirs.known["a"])) == b"small"
    mine.withdraw("a")
    assert theirs.follow() == {"a"}
    assert theirs.known.keys() == {"b"}
    assert theirs.follow() == set()


def test_nobody_sees_one_whose_publisher_died(mine: Artifacts, theirs: Artifacts) -> None:
    mine.publish("a", "snapshot", 1_000, {}, [LARGE])

    def dying() -> Iterator[bytes]:
        yield LARGE[: 2 * PIECE_BYTES]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine.publish("a", "snapshot", 2_000, {}, dying())
    theirs.follow()
    assert theirs.known["a"].time == 1_000
    assert b"".join(theirs.read(theirs.known["a"])) == LARGE
    mine.publish("a", "snapshot", 3_000, {}, [LARGE[::-1]])
    theirs.follow()
    assert b"".join(theirs.read(theirs.known["a"])) == LARGE[::-1]


def test_pieces_of_somebody_else_are_found_out(mine: Artifacts, theirs: Artifacts) -> None:
    made = mine.publish("a", "snapshot", 1_000, {}, [b"mine"])
    mine.publish("a", "snapshot", 2_000, {}, [b"other"])
    theirs.follow()
    later = theirs.known["a"].last
    mixed = type(made)("a", "snapshot", 1_000, {}, 4, 1, later, later, made.digest)
    with pytest.raises(Corrupt, match="the bytes in Kafka are not those that were announced, saw '1 of 1"):
        list(theirs.read(mixed))


def test_what_is_no_announcement_is_passed_over(
    mine: Artifacts, config: ClusterConfig, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer(config.kafka.client())
    producer.produce(topics.artifacts, b"nonsense", key=b"n", partition=ANNOUNCED)
    assert producer.flush(10) == 0
    with caplog.at_level(logging.ERROR, "opportune.streams"):
        assert mine.follow() == {"n"}
    assert mine.known == {}
    assert "an announcement that cannot be read was passed over: n" in caplog.text
