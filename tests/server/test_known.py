"""Requests whose head was parsed before are read as the parser would read them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from opportune.server.known import Heads
from opportune.server.routes import ROUTES

BODY = b'{"placement":"home_recs"}'
HEAD = b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wk_test\r\nContent-Length: 25\r\n\r\n"
METHODS = {"POST": ROUTES[0]}


def learnt(heads: Heads, request: bytes, *headers: tuple[bytes, bytes], size: int) -> Heads:
    heads.learn(request, METHODS, "POST", b"/v1/decide", b"", list(headers), size)
    return heads


def test_only_a_whole_request_with_the_same_head_is_known() -> None:
    heads = learnt(Heads(), HEAD + BODY, (b"host", b"x"), (b"content-length", b"25"), size=25)
    known = heads.of(HEAD + BODY.replace(b"home", b"cart"))
    assert known is not None
    assert (known.path, known.body_bytes, known.named[b"host"]) == (b"/v1/decide", 25, b"x")
    assert heads.of(HEAD + BODY[:-1]) is None
    assert heads.of(HEAD + BODY + b"P") is None
    assert heads.of(HEAD) is None
    assert heads.of(HEAD.replace(b"Host: x", b"Host: y") + BODY) is None
    assert heads.of(b"") is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"x")],
        [(b"content-length", b"025")],
        [(b"content-length", b"25"), (b"expect", b"100-continue")],
        [(b"content-length", b"25"), (b"upgrade", b"h2c")],
        [(b"content-length", b"25"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"25"), (b"x", b"1"), (b"x", b"2")],
    ],
)
def test_what_the_connection_must_act_on_is_left_to_the_parser(headers: list[tuple[bytes, bytes]]) -> None:
    assert len(learnt(Heads(), HEAD + BODY, *headers, size=25)) == 0


def test_two_requests_in_one_packet_teach_nothing() -> None:
    twice = (HEAD + BODY) * 2
    assert len(learnt(Heads(), twice, (b"content-length", b"25"), size=25)) == 0


def test_what_is_remembered_is_bounded() -> None:
    heads = Heads(capacity=3)
    for number in range(7):
        head = HEAD.replace(b"Host: x", b"Host: %d" % number)
        learnt(heads, head + BODY, (b"content-length", b"25"), size=25)
        assert len(heads) <= 3
    long = HEAD.replace(b"Host: x", b"Host: " + b"x" * 2_000)
    assert len(learnt(Heads(), long + BODY, (b"content-length", b"25"), size=25)) == 0


def receive(client: socket.socket, answers: int) -> bytes:
    """The bytes of so many answers, without their dates."""
    found = b""
    while found.count(b"HTTP/1.1 200") < answers or not found.endswith(b"}"):
        part = client.recv(65_536)
        assert part, found
        found += part
    return b"\r\n".join(line for line in found.split(b"\r\n") if not line.startswith(b"date:"))


def test_a_known_head_is_answered_like_a_new_one(make_server: Callable[..., Any], engine: Any) -> None:
    server = make_server()
    other = BODY.replace(b"home_recs", b"cart_recs")
    with server.connect() as client:
        answers = []
        for body in (BODY, BODY, other, BODY):
            client.sendall(HEAD + body)
            answers.append(receive(client, 1))
        assert len(server.app.heads) == 1
        assert answers[0] == answers[1] == answers[3]
        assert answers[2] == answers[0].replace(b"home_recs", b"cart_recs")
        assert [request.placement for request in engine.requests] == [
            "home_recs", "home_recs", "cart_recs", "home_recs",
        ]  # fmt: skip
        # In pieces, and several at once: as ever.
        client.sendall(HEAD)
        client.sendall(BODY)
        assert receive(client, 1) == answers[0]
        client.sendall((HEAD + BODY) * 3)
        assert receive(client, 3) == answers[0] * 3
        client.sendall(HEAD + BODY + HEAD[:40])
        assert receive(client, 1) == answers[0]
        client.sendall(HEAD[40:] + BODY)
        assert receive(client, 1) == answers[0]


def test_a_known_head_with_a_key_that_is_none_stays_refused(make_server: Callable[..., Any]) -> None:
    server = make_server()
    bad = HEAD.replace(b"wk_test", b"wk_tess")
    with server.connect() as client:
        for _ in range(3):
            client.sendall(bad + BODY)
            assert client.recv(65_536).startswith(b"HTTP/1.1 401")
        assert len(server.app.heads) == 1
