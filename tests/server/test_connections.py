"""Clients that are slow, silent, lying or huge, over raw sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from opportune.server.protocol import Patience

KEY = "Authorization: Bearer wk_test\r\n"
EVENT = b'{"type":"track","event":"x"}'
FAST = Patience(request_s=0.3, head_bytes=4_096, headers=20, connections=4)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    while True:
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65_536)
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head[9:12]), body


def head(length: int | str, extra: str = "") -> bytes:
    return f"POST /v1/track HTTP/1.1\r\nHost: x\r\n{KEY}{extra}Content-Length: {length}\r\n\r\n".encode()


@pytest.fixture
def impatient(make_server: Callable[..., Any]) -> Any:
    return make_server(patience=FAST, sweep_s=0.05)


def test_a_head_that_never_ends_gets_408(impatient: Any) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
        for _ in range(20):
            try:
                connection.sendall(b"X-A: b\r\n")
            except OSError:
                break
            time.sleep(0.05)
        assert read_all(connection).startswith(b"HTTP/1.1 408 Request Timeout")


def test_a_connection_that_says_nothing_is_closed(impatient: Any) -> None:
    with impatient.connect() as connection:
        started = time.monotonic()
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"
        assert 0.2 < time.monotonic() - started < 2


def test_a_body_shorter_than_it_claims_gets_408_and_nothing_is_stored(impatient: Any, engine: Any) -> None:
    with impatient.connect() as connection:
        connection.sendall(head(500) + EVENT)
        assert read_all(connection).startswith(b"HTTP/1.1 408")
    assert engine.admitted == []


def test_a_client_that_hangs_up_in_the_middle(impatient: Any, engine: Any) -> None:
    with impatient.connect() as connection:
        connection.sendall(head(500) + EVENT)
    with impatient.connect() as connection:
        connection.sendall(head(len(EVENT)) + EVENT)
        assert read_answer(connection) == (200, b'{"success":true}')
    assert len(engine.admitted) == 1


def test_a_half_open_client_still_gets_its_answer(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(len(EVENT)) + EVENT)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_longer_than_it_claims_is_not_an_event(server: Any, engine: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(len(EVENT)) + EVENT + EVENT)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") <= 1
    assert b"HTTP/1.1 400" in answer
    assert len(engine.applied) <= 1


@pytest.mark.parametrize(
    "lie",
    ["abc", "-5", "5, 6", "99999999999999999999999999", "0x10", "1e3", ""],
    ids=lambda value: f"{value!r}",
)
def test_lengths_that_are_no_numbers(server: Any, engine: Any, lie: str) -> None:
    with server.connect() as connection:
        connection.sendall(head(lie) + EVENT)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert engine.applied == []


def test_length_and_chunks_at_once_are_refused(server: Any, engine: Any) -> None:
    with server.connect() as connection:
        connection.sendall(
            head(5, "Transfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET /health HTTP/1.1\r\n\r\n"
        )
        assert read_all(connection).startswith(b"HTTP/1.1 400")
    assert engine.admitted == []


def test_a_head_that_is_too_large_gets_431(impatient: Any) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2_000)
        time.sleep(0.05)
        connection.sendall(b"a" * 3_000)
        assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_too_many_headers_are_refused(impatient: Any) -> None:
    with impatient.connect() as connection:
        lines = b"".join(b"X-%d: y\r\n" % number for number in range(21))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "invalid_request"


def test_too_many_connections_are_turned_away(impatient: Any) -> None:
    kept = [impatient.connect() for _ in range(4)]
    time.sleep(0.05)
    with impatient.connect() as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 503")
    for connection in kept:
        connection.close()


def test_nonsense_is_400_in_json(server: Any) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01", b"GARBAGE\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"):
        with server.connect() as connection:
            connection.sendall(nonsense)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400"), nonsense
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "invalid_request"


def test_expect_100_continue(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(len(EVENT), "Expect: 100-continue\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(EVENT)
        assert read_answer(connection)[0] == 200


def test_an_oversized_body_is_refused_before_it_is_sent_when_the_client_asks_first(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(5 << 20, "Expect: 100-continue\r\n"))
        status, body = read_answer(connection)
    assert (status, json.loads(body)["code"]) == (400, "too_large")


def test_a_body_beyond_all_reason_is_cut_off(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(1 << 40))
        assert read_answer(connection)[0] == 400


def test_pipelined_requests_are_answered_in_order(server: Any, engine: Any) -> None:
    with server.connect() as connection:
        one = head(len(EVENT)) + EVENT
        connection.sendall(one + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_all(connection)
    assert answer.index(b'{"success":true}') < answer.index(b'"status":"ok"')


def test_http_1_0(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert read_all(connection).endswith(b"}")
