"""What the application does around its routes: overload, a failing disk, pages beside the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from opportune.errors import FlushFailed, NotFound
from opportune.server.metrics import Metrics
from opportune.server.service import Limits
from opportune.server.writer import GroupWriter

KEY = {"authorization": "Bearer wk_test"}
EVENT = {"type": "track", "event": "x"}


def test_overload_is_429_with_a_whole_number_of_seconds(make_server: Callable[..., Any], engine: Any) -> None:
    engine.flush_delay_s = 0.3
    server = make_server(writer=GroupWriter(engine, Metrics(), queue_limit=3))

    def send(_: int) -> httpx.Response:
        return httpx.post(f"{server.url}/v1/track", json=EVENT, headers=KEY, timeout=10)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in refused:
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "overloaded"
        assert answer.headers["access-control-allow-origin"] == "*"
    assert len(engine.applied) == sum(answer.status_code == 200 for answer in answers)


def test_at_more_than_capacity_the_rest_is_refused_and_nobody_waits_for_long(
    make_server: Callable[..., Any], engine: Any
) -> None:
    """200 requests of 5 ms that are read at once would keep the last one waiting for a second."""
    server = make_server(limits=Limits(turn_s=0.05))
    all_sent = threading.Event()
    quick = engine.decide

    def slow(request: Any) -> Any:
        assert all_sent.wait(10)
        time.sleep(0.005)
        return quick(request)

    engine.decide = slow
    body = b'{"placement":"home_recs"}'
    request = (
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wk_test\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    clients = [server.connect() for _ in range(200)]
    try:
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.sendall(request)
        all_sent.set()
        answers = [client.recv(65_536) for client in clients]
    finally:
        del engine.decide
        for client in clients:
            client.close()
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429")]
    answered = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200")]
    assert len(refused) + len(answered) == 200
    assert len(answered) >= 8
    assert len(refused) >= 100
    assert all(b"retry-after: 1\r\n" in answer for answer in refused)


def test_a_failing_disk_is_503_and_not_ready_until_it_works_again(
    make_server: Callable[..., Any], engine: Any
) -> None:
    server = make_server()
    with httpx.Client(base_url=server.url, headers=KEY) as client:
        engine.flush_error = FlushFailed("the disk refused")
        answer = client.post("/v1/track", json=EVENT)
        assert answer.status_code == 503
        assert answer.json()["message"] == "the journal cannot be written (the disk refused)"
        assert answer.json()["remedy"] == "retry later; see /ready"
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["reason"] == "the journal cannot be written (the disk refused)"
        assert client.get("/health").status_code == 200
        assert client.post("/v1/decide", json={"placement": "home_recs"}).status_code == 200
        engine.flush_error = None
        for _ in range(200):
            if client.get("/ready").status_code == 200:
                break
            time.sleep(0.01)
        assert client.post("/v1/track", json=EVENT).status_code == 200
    assert len(engine.applied) == 1


async def hello(request: Request) -> Response:
    engine = request.state.service.engine
    return PlainTextResponse(f"hello {type(engine).__name__}")


async def missing(request: Request) -> Response:
    raise NotFound("no such page", seen="x")


async def broken(request: Request) -> Response:
    raise ZeroDivisionError


@pytest.fixture
def pages(make_server: Callable[..., Any]) -> Any:
    table = [Route("/hello", hello), Route("/missing", missing), Route("/broken", broken)]
    return make_server(extra_mounts=[Mount("/console", routes=table), *table])


@pytest.mark.parametrize("prefix", ["", "/console"])
def test_pages_find_the_service_and_share_the_error_shape(pages: Any, prefix: str, caplog: Any) -> None:
    with httpx.Client(base_url=pages.url) as client:
        assert client.get(f"{prefix}/hello").text == "hello SmallEngine"
        answer = client.get(f"{prefix}/missing")
        assert (answer.status_code, answer.json()) == (
            404,
            {"code": "not_found", "message": "no such page", "seen": "x"},
        )
        assert client.post(f"{prefix}/hello").status_code == 405
        assert client.get(f"{prefix}/elsewhere").json()["code"] == "not_found"
        broken_answer = client.get(f"{prefix}/broken")
        assert (broken_answer.status_code, broken_answer.json()["code"]) == (500, "internal")
        metrics = client.get("/metrics").text
    assert 'opportune_internal_errors_total{route="pages"} 1.0' in metrics
    assert 'route="hello",status="200"' in metrics
    assert "unexpected error in a page" in caplog.text


def test_a_page_cannot_take_the_place_of_a_route(make_server: Callable[..., Any]) -> None:
    server = make_server(extra_mounts=[Route("/health", hello), Route("/v1/accounting", hello)])
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    assert httpx.get(f"{server.url}/v1/accounting").status_code == 401
