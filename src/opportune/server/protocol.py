"""uvicorn's HTTP protocol with the patience of a public server: slow, huge and idle clients are let go."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from opportune.server.call import encode_json


class Patience(msgspec.Struct, frozen=True):
    """Seconds and bytes. ``request_s`` is from the first byte of a request (or from connecting) to its last.
    ``keep_alive_s`` is between requests: longer than a load balancer's 60 s, so that it is the balancer that
    closes and no request meets a closing connection."""

    request_s: float = 20.0
    keep_alive_s: float = 75.0
    head_bytes: int = 32_768
    headers: int = 100
    connections: int = 8_192


class PatientProtocol(HttpToolsProtocol):
    """Adds what uvicorn leaves to a reverse proxy: a deadline for the request to arrive (408), a bound on its
    head (431), a bound on connections (503). One sweep a second looks at all connections, so a request pays
    for two attribute writes, not for a timer."""

    patience: ClassVar[Patience] = Patience()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.awaited_since: float | None = None
        self._in_head = False
        self._head_bytes = 0

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # a TCP server's are; so does uvicorn have it
    ) -> None:
        super().connection_made(transport)
        self.awaited_since = self.loop.time()
        if len(self.connections) > self.patience.connections:
            self.turn_away(503, "overloaded", "too many connections")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.patience.head_bytes:
                self.turn_away(431, "too_large", "the request's head is too large")

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own type; uvicorn narrowed it to None
        """A client that has said all it will say still gets the answer to what it asked."""
        if self.awaited_since is None and self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return True
        return False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.awaited_since = self.loop.time()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.headers) > self.patience.headers:
            raise ValueError("too many headers")  # the parser stops, and send_400_response answers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.awaited_since = None

    def send_400_response(self, msg: str) -> None:
        self.turn_away(400, "invalid_request", msg)

    def sweep(self, now: float) -> None:
        """Let the client go if its request has not arrived in time."""
        since = self.awaited_since
        if since is not None and now - since > self.patience.request_s:
            self.turn_away(408, "request_timeout", "the request did not arrive in time")

    def turn_away(self, status: int, code: str, message: str) -> None:
        """Answer outside of ASGI and close; silently when a response is already on its way."""
        self.awaited_since = None
        self._in_head = False
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = encode_json({"code": code, "message": message})
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (status, _PHRASES[status], len(body), body)
            )
        self.transport.close()


_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


async def sweep_forever(connections: set[Any], every_s: float = 1.0) -> None:
    """Look at every open connection once in a while; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every_s)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, PatientProtocol):
                connection.sweep(now)
