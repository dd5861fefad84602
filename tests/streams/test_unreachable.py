"""Servers that are not there, or refuse, are told plainly; waiting has growing pauses."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from opportune.errors import StorageError
from opportune.events.event import Event
from opportune.streams import log as kafka_log
from opportune.streams.config import ClusterConfig, KafkaConfig, RedisConfig
from opportune.streams.log import KafkaLog
from opportune.streams.serving_copy import ServingCopy
from opportune.streams.topics import Topics, ensure

NOWHERE = ClusterConfig(KafkaConfig("127.0.0.1:1"), RedisConfig("redis://127.0.0.1:1/0", timeout_s=0.1))


def test_no_broker() -> None:
    said: list[str] = []
    with pytest.raises(StorageError, match=r"Kafka does not answer .*saw '127.0.0.1:1': check kafka.brokers"):
        ensure(NOWHERE, wait_s=0.1, say=said.append)


def test_no_redis() -> None:
    said: list[str] = []
    copy = ServingCopy(NOWHERE)
    with pytest.raises(
        StorageError, match=r"Redis does not answer .*saw 'redis://127.0.0.1:1/0': check redis"
    ):
        copy.wait(0.6, say=said.append)
    assert said
    assert said[0].startswith("waiting for Redis at redis://127.0.0.1:1/0: ")
    with pytest.raises(StorageError, match="Redis does not answer"):
        copy.get([b"x"])
    with pytest.raises(StorageError, match="Redis does not answer"):
        copy.put({b"x": b"12345678"})
    copy.close()


def test_a_redis_that_says_nothing_is_waited_for_once_and_no_longer_than_the_caller_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        copy = ServingCopy(ClusterConfig(KafkaConfig("127.0.0.1:1"), RedisConfig(url, timeout_s=30.0)))
        # The handshake is answered, the question is not.
        greeter = threading.Thread(target=_greet, args=(silent,), daemon=True)
        greeter.start()
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"Redis does not answer .no answer within 50 ms"):
            copy.get([b"x"], 0.05)
        assert 0.05 <= time.monotonic() - began < 5
        began = time.monotonic()
        with pytest.raises(StorageError, match="no answer within 50 ms"):
            copy.get([b"x"])
        assert time.monotonic() - began < 5, "nobody asked"
        copy.close()


def _greet(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while (data := connection.recv(4096)) and b"MGET" not in data:
            connection.sendall(b"+OK\r\n" * data.count(b"*"))
        time.sleep(5)


def test_a_post_is_not_acknowledged_without_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """503: the client keeps the event and sends it again."""
    monkeypatch.setattr(kafka_log, "PATIENCE_S", 0.3)
    monkeypatch.setattr(kafka_log, "ANSWER_S", 0.1)
    log = KafkaLog(NOWHERE, Topics.of("t"))
    log.append(Event("track", "product_viewed", "m1", "shop", 1, 1, ("user_id:u1",)))
    with pytest.raises(StorageError, match=r"Kafka does not acknowledge .*retry later") as raised:
        log.flush()
    assert raised.value.status == 503
    with pytest.raises(StorageError, match="Kafka does not acknowledge"):
        log.reopen()


@pytest.mark.parametrize(
    ("event", "topic", "key"),
    [
        (Event("track", "x", "m1", "s", 1, 1, ("user_id:u1", "anonymous_id:b1")), "t.events", b"user_id:u1"),
        (Event("track", "x", "m1", "s", 1, 1), "t.events", b"m1"),
        (Event("item", "item_updated", "m1", "s", 1, 1), "t.items", b""),
    ],
)
def test_where_an_entry_goes(event: Event, topic: str, key: bytes) -> None:
    log = KafkaLog(NOWHERE, Topics.of("t"))
    assert log._place(event)[:2] == (topic, key)
