"""Who goes first when there is too much to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from opportune.errors import Overloaded
from opportune.server.turn import PostLine


def test_posts_begin_as_they_come_while_the_turn_is_young() -> None:
    async def turn() -> list[bool]:
        line = PostLine(limit_s=0.5)
        return [line.may_begin(10.0), line.may_begin(10.2), line.may_begin(10.6)]

    assert asyncio.run(turn()) == [True, True, False]


def test_what_stands_in_line_is_begun_in_order_and_what_comes_later_stands_behind_it() -> None:
    begun: list[str] = []

    async def turns() -> None:
        line = PostLine(limit_s=0.0)
        assert line.may_begin(1.0)
        for name in ("a", "b"):
            assert not line.may_begin(1.0)
            line.stand(1.0, partial(begun.append, name))
        assert begun == []
        await asyncio.sleep(0)
        assert begun == ["a"], "with no time at all it is one post a turn"
        assert not line.may_begin(1.0), "b is still waiting"
        line.stand(1.0, partial(begun.append, "c"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert begun == ["a", "b", "c"]
        assert len(line) == 0
        assert line.may_begin(2.0)

    asyncio.run(turns())


def test_a_post_that_would_wait_long_is_refused() -> None:
    async def turn() -> None:
        line = PostLine(limit_s=0.0, patience_s=0.1)
        line.may_begin(1.0)
        line.stand(1.0, lambda: None)
        line.stand(1.05, lambda: None)
        with pytest.raises(Overloaded, match="more posts are arriving than can be taken") as refused:
            line.stand(1.2, lambda: None)
        assert refused.value.retry_after_s == 1
        assert len(line) == 2

    asyncio.run(turn())


def test_a_decision_overtakes_the_posts_that_were_read_before_it(
    make_server: Callable[..., Any], engine: Any
) -> None:
    """40 posts of 5 ms are 0.2 s of work; a decision that comes with them overtakes most of them."""
    server = make_server()
    admit, order = engine.admit, []

    def slow(*arguments: Any, **about: Any) -> Any:
        time.sleep(0.005)
        order.append("post")
        return admit(*arguments, **about)

    def decide(request: Any) -> Any:
        order.append("decision")
        return type(engine).decide(engine, request)

    engine.admit, engine.decide = slow, decide

    def request(path: bytes, body: bytes) -> bytes:
        return (
            b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wk_test\r\nContent-Length: %d\r\n\r\n%b"
            % (path, len(body), body)
        )

    clients = [server.connect() for _ in range(41)]
    try:
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200"), "accepted"
        for number, client in enumerate(clients[:40]):
            client.sendall(request(b"/v1/track", b'{"event":"x","messageId":"m%d"}' % number))
        clients[40].sendall(request(b"/v1/decide", b'{"placement":"home_recs"}'))
        answers = [client.recv(65_536) for client in clients]
    finally:
        del engine.admit, engine.decide
        for client in clients:
            client.close()
    refused = sum(answer.startswith(b"HTTP/1.1 429") for answer in answers)
    assert answers[40].startswith(b"HTTP/1.1 200")
    assert order.count("post") + refused == 40
    assert order.index("decision") < 20
