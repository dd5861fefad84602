"""The load generator must see stalls that a closed loop hides, and the bench must judge honestly."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from benchmarks.speed.bars import BARS, judge, markdown
from benchmarks.speed.openloop import Plan, Stream, drive, post

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Stub:
    """Answers at once, except that it sleeps before the request with number ``stall_at``."""

    def __init__(self, stall_at: int = -1, stall_s: float = 0.0, answer: bytes = ANSWER) -> None:
        self.stall_at, self.stall_s, self.answer = stall_at, stall_s, answer
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                with self.lock:
                    self.count += 1
                    if self.count == self.stall_at:
                        time.sleep(self.stall_s)
                connection.sendall(self.answer)

    def close(self) -> None:
        self.listener.close()
        for thread in self.threads[1:]:
            thread.join(5)


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.close()


def test_every_request_is_sent_and_answered(stub: Stub) -> None:
    stream = Stream("a", 200, 0.5, [post("/", b"{}", "k")])
    told = drive(Plan(stub.port, [stream], connections=4))[0]
    assert (told.sent, told.succeeded, told.failed, stub.count) == (100, 100, 0, 100)
    assert 0 < told.p50_ms <= told.p99_ms <= told.max_ms


def test_a_stall_counts_for_everybody_who_was_due_during_it() -> None:
    stub = Stub(stall_at=20, stall_s=0.3)
    stream = Stream("a", 200, 1.0, [post("/", b"{}", "k")], poisson=False)
    told = drive(Plan(stub.port, [stream], connections=4))[0]
    stub.close()
    # 0.3 s at 200/s: about 60 of the 200 requests were due while the server slept, so the 80th percentile
    # has them; a closed loop with 4 connections would have seen 4 slow requests, 2 %.
    assert told.p90_ms > 100
    assert told.max_ms >= 290
    assert told.failed == 0


def test_refusals_are_failures_not_fast_answers() -> None:
    stub = Stub(answer=b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nno")
    told = drive(Plan(stub.port, [Stream("a", 100, 0.2, [post("/", b"{}", "k")])], connections=2))[0]
    stub.close()
    assert (told.succeeded, told.failed, told.statuses) == (0, 20, {"429": 20})
    assert math.isnan(told.p99_ms)


def test_a_follow_up_without_its_mark_is_stale(stub: Stub) -> None:
    request = post("/", b"{}", "k")
    for mark, stale in ((b"ok", 0), (b"missing", 10)):
        stream = Stream("a", 100, 0.1, [request], follow=[request], expect=[mark])
        told = drive(Plan(stub.port, [stream], connections=2))[0]
        assert (told.succeeded, told.stale) == (10, stale)
    assert stub.count == 40


def test_streams_are_told_apart(stub: Stub) -> None:
    request = post("/", b"{}", "k")
    told = drive(Plan(stub.port, [Stream("a", 100, 0.2, [request]), Stream("b", 50, 0.2, [request])]))
    assert [(one.name, one.sent) for one in told] == [("a", 20), ("b", 10)]


@pytest.mark.parametrize(
    ("key", "measured", "verdict"),
    [
        ("decisions", 2_500, "stretch"),
        ("decisions", 2_499, "bar"),
        ("decisions", 999, "short"),
        ("single_post_p99", 1.5, "stretch"),
        ("single_post_p99", 5.0, "bar"),
        ("single_post_p99", 5.1, "short"),
        ("freshness_p99", math.nan, "short"),
    ],
)
def test_judging(key: str, measured: float, verdict: str) -> None:
    assert judge(key, measured).verdict == verdict


def test_the_table_names_machine_seed_and_what_is_missing() -> None:
    machine = {
        "cpu": "CPU", "cores": 2, "memory_gb": 8, "kernel": "6", "file_system": "ext4", "python": "3.11",
        "packages": {"uvicorn": "1"},
    }  # fmt: skip
    table = markdown([judge("freshness_p99", math.nan), judge("decisions", 1_500)], machine, {"x": "1 us"}, 7)
    assert "seed 7" in table
    assert "not measured" in table
    assert "| 1,000 /s | 2,500 /s | 1,500 /s | bar |" in table
    assert len({bar.key for bar in BARS}) == len(BARS) == 10
