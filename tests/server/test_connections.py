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


def test_a_packet_full_of_requests_is_answered_in_order(server: Any, engine: Any) -> None:
    many = [b'{"type":"track","messageId":"m%d"}' % number for number in range(60)]
    requests = [head(len(one)) + one for one in many]
    requests.insert(30, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")  # not in the table: answered by ASGI
    with server.connect() as connection:
        connection.sendall(b"".join(requests))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200] * 30 + [404] + [200] * 30
    assert [event["messageId"] for event in engine.applied] == [f"m{number}" for number in range(60)]


def test_nonsense_after_a_request_does_not_take_its_answer_away(server: Any, engine: Any) -> None:
    with server.connect() as connection:
        connection.sendall(head(len(EVENT)) + EVENT + b"NONSENSE\r\n\r\n")
        answer = read_all(connection)
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK")
    assert second.startswith(b"400 Bad Request")
    assert b"connection: close" in second
    assert len(engine.applied) == 1


def test_a_body_in_chunks_that_trickle_in(server: Any, engine: Any) -> None:
    with server.connect() as connection:
        opening = f"POST /v1/track HTTP/1.1\r\nHost: x\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(opening.encode())
        for at in range(0, len(EVENT), 7):
            part = EVENT[at : at + 7]
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            time.sleep(0.01)
        connection.sendall(b"0\r\n\r\n")
        assert read_answer(connection) == (200, b'{"success":true}')
        connection.sendall(head(len(EVENT)) + EVENT)
        assert read_answer(connection) == (200, b'{"success":true}')
    assert engine.admitted[0]["items"] == [EVENT]


def test_a_wish_to_upgrade_is_ignored_and_the_connection_goes_on(server: Any, engine: Any) -> None:
    wish = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with server.connect() as connection:
        connection.sendall(head(len(EVENT), wish) + EVENT + head(len(EVENT)) + EVENT)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert len(engine.applied) == 2


def test_the_answer_carries_a_date_and_says_when_it_is_the_last(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        lines = read_all(connection).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert sum(line.startswith(b"date: ") for line in lines) == 1
    assert lines[-1] == b"connection: close"


def test_the_head_of_an_answer_has_no_body(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        first = connection.recv(65_536)
        assert first.endswith(b"\r\n\r\n")
        assert b"content-length: 0" not in first
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection)[0] == 200


def test_an_idle_connection_is_closed_without_a_word(make_server: Callable[..., Any]) -> None:
    server = make_server(patience=Patience(keep_alive_s=0.2), sweep_s=0.05)
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection)[0] == 200
        started = time.monotonic()
        assert read_all(connection) == b""
        assert 0.1 < time.monotonic() - started < 2


def test_a_client_that_never_reads_is_not_read_either(server: Any) -> None:
    """Its answers pile up in the server only as far as the transport's own mark, a few hundred kilobytes."""
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(0.3)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        sent = 0
        try:
            while sent < 32 << 20:
                sent += connection.send(request)
        except TimeoutError:
            pass
    assert sent < 32 << 20


def test_it_is_no_proxy(server: Any) -> None:
    with server.connect() as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"This server is no proxy." in answer
