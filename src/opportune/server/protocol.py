"""HTTP/1.1 on a connection: the API's exact paths are answered in the call that read them; the rest by ASGI.

The parser is httptools (llhttp), the loop is uvloop, the server around it is uvicorn, whose request cycle
also runs what is not a hot path (pages, paths with parameters). A hot request costs no task, no future and no
ASGI messages: its body is gathered, its handler is called, its reply is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from opportune.server.addresses import network
from opportune.server.app import App, Methods
from opportune.server.body import DISCARD_LIMIT, Gathering
from opportune.server.call import Call, Header, Reply, encode_json
from opportune.server.heads import head_of
from opportune.server.known import Head

_log = logging.getLogger("opportune.server")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ELSEWHERE = Gathering(0)
"""The body of an exchange whose call has it already."""


class Patience(msgspec.Struct, frozen=True):
    """Seconds and bytes. ``request_s`` is from the first byte of a request (or from connecting) to its last.
    ``keep_alive_s`` is between requests: longer than a load balancer's 60 s, so that it is the balancer that
    closes and no request meets a closing connection."""

    request_s: float = 20.0
    keep_alive_s: float = 75.0
    head_bytes: int = 32_768
    headers: int = 100
    connections: int = 8_192


class Exchange:
    """A request of the route table on its way in, and what its reply has to know."""

    __slots__ = ("body", "expects", "headers", "keep_alive", "method", "methods", "path", "query_string")

    def __init__(
        self,
        methods: Methods,
        method: str,
        path: bytes,
        query_string: bytes,
        headers: list[Header],
        body: Gathering,
        keep_alive: bool,
    ) -> None:
        self.methods = methods
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.expects = False


class Refusal(msgspec.Struct, frozen=True):
    """A last word to a client, after which the connection closes."""

    status: int
    code: str
    message: str


Turn = Exchange | RequestResponseCycle | Refusal


class PatientProtocol(asyncio.Protocol):
    """One connection. Requests are answered in the order they came in; what comes while one is being answered
    waits in ``_line``, and reading pauses.

    Slow, huge and idle clients are let go: a deadline for the request to arrive (408), a bound on its head
    (431), a bound on connections (503). One sweep a second looks at all connections, so a request pays for
    two attribute writes, not for a timer.
    """

    patience: ClassVar[Patience] = Patience()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        app = config.app
        assert isinstance(app, App)
        self.loop = _loop or asyncio.get_event_loop()
        self.app = app
        self._asgi: Any = app
        self.state = server_state
        self.transport: asyncio.Transport
        self.flow: FlowControl
        self._parser: Any = self._new_parser()
        self.waiting_since: float | None = None
        self.idle_since: float | None = None
        self._url = b""
        self._headers: list[Header] = []
        self._in_head = False
        self._head_bytes = 0
        self._incoming: Exchange | RequestResponseCycle | None = None
        self._current: Turn | None = None
        self._line: deque[Turn] = deque()
        self._is_last = False
        self._read: Exchange | None = None
        self._address = ""

    # -- the connection

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # a TCP server's are
    ) -> None:
        self.transport = transport
        peer = get_remote_addr(transport)
        self._address = network(peer[0]) if peer else ""
        self.flow = FlowControl(transport)
        self.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn asks nothing of it but ``shutdown``
        self.waiting_since = self.loop.time()
        if len(self.state.connections) > self.patience.connections:
            self.turn_away(503, "overloaded", "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections.discard(self)
        for turn in (self._current, *self._line):
            if isinstance(turn, RequestResponseCycle):
                turn.disconnected = not turn.response_complete
                turn.message_event.set()
        self.flow.resume_writing()
        self._line.clear()
        self._current = self._incoming = None
        self._parser = None  # it refers back: left alone, the two would wait for the cyclic collector

    def eof_received(self) -> bool:
        """A client that has said all it will say still gets the answers to what it asked."""
        if self._current is not None and self._incoming is None and not self._in_head:
            self._is_last = True
            return True
        return False

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more questions."""
        self.flow.pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        if not self._line:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """The server stops: finish the request under way, then close."""
        if self._current is None:
            self.transport.close()
        elif not isinstance(self._current, Refusal):
            self._current.keep_alive = False

    def sweep(self, now: float) -> None:
        """Let the client go if its request has not arrived in time, or none has for long."""
        if self.waiting_since is not None and now - self.waiting_since > self.patience.request_s:
            self.turn_away(408, "request_timeout", "the request did not arrive in time")
        elif self.idle_since is not None and now - self.idle_since > self.patience.keep_alive_s:
            self.transport.close()

    def turn_away(self, status: int, code: str, message: str) -> None:
        """A refusal for the connection as a whole, in its turn, and the end of it."""
        refusal = Refusal(status, code, message)
        self.waiting_since = None
        self._in_head = False
        current = self._current
        if self.transport.is_closing():
            return
        if current is None:
            self._refuse(refusal)
        elif current is self._incoming and isinstance(current, RequestResponseCycle):
            # Its handler waits for a body that will not come.
            if current.response_started:
                self.transport.close()
            else:
                self._refuse(refusal)
        else:
            self._incoming = None
            self._line.append(refusal)
            self.flow.pause_reading()

    def _refuse(self, refusal: Refusal) -> None:
        body = encode_json({"code": refusal.code, "message": refusal.message})
        self.transport.write(head_of(Reply(refusal.status, body), self.state, close=True) + body)
        self.transport.close()

    # -- what the parser finds

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # What follows a request that closes the connection is not read, and no reason to refuse that request.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _without_upgrade(self) -> bytes:
        """The head that was read last, without the wish to speak another protocol. The parser takes what
        follows such a head for that protocol and would lose the body (Java's own client posts like this)."""
        unwanted = (b"upgrade", b"connection", b"http2-settings")
        lines = [b"%b: %b\r\n" % header for header in self._headers if header[0] not in unwanted]
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (self._parser.get_method(), self._url, b"".join(lines))

    def data_received(self, data: bytes) -> None:
        if self._current is not None or self._incoming is not None or self._in_head or self._line:
            self._parse(data)
            return
        head = self.app.heads.of(data)
        if head is not None:
            self._answer_known(head, data)
            return
        self._read = None
        self._parse(data)
        self._learn(data)

    def _learn(self, data: bytes) -> None:
        read = self._read
        if read is not None and read.keep_alive and not read.body.oversize:
            self.app.heads.learn(
                data, read.methods, read.method, read.path, read.query_string, read.headers, read.body.size
            )

    def _answer_known(self, head: Head, request: bytes) -> None:
        """What :meth:`_parse` would come to, for a whole request with a head that was parsed before."""
        self.waiting_since = self.idle_since = None
        if self.transport.is_closing():
            return
        body = request[len(request) - head.body_bytes :]
        self._current = Exchange(
            head.methods, head.method, head.path, head.query, head.headers, _ELSEWHERE, True
        )
        call = Call(
            head.method, head.path, head.query, head.headers, body, named=head.named, address=self._address
        )
        self.app.begin(head.methods, call, self._reply)

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._parser.get_method() == b"CONNECT":
                    self.turn_away(400, "invalid_request", "This server is no proxy.")
                    return
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self._parser = self._new_parser()
                continue
            except httptools.HttpParserError:
                self.turn_away(400, "invalid_request", "Invalid HTTP request received.")
                return
            break
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.patience.head_bytes:
                self.turn_away(431, "too_large", "the request's head is too large")

    def on_message_begin(self) -> None:
        self.waiting_since = self.loop.time()
        self.idle_since = None
        self._url = b""
        self._headers = []
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers = self._headers
        if len(headers) > self.patience.headers:
            raise ValueError("too many headers")  # the parser stops, and data_received answers
        if self._parser.should_upgrade():
            return  # data_received reads it again
        path, _, query = self._url.partition(b"?")
        methods = self.app.exact.get(path)
        if methods is None or b"#" in query:
            self._begin_cycle()
            return
        parser = self._parser
        exchange = Exchange(
            methods,
            parser.get_method().decode("ascii"),
            path,
            query,
            headers,
            Gathering(self.app.service.limits.body_bytes),
            parser.should_keep_alive() and parser.get_http_version() != "1.0",
        )
        self._incoming = exchange
        for name, value in headers:
            if name == b"expect":
                exchange.expects = value.lower() == b"100-continue"
            elif name == b"content-length":
                self._announced(exchange, int(value))
        if exchange.expects and self._current is None and self._incoming is exchange:
            self._go_ahead(exchange)

    def _announced(self, exchange: Exchange, size: int) -> None:
        """A body that is too large anyway need not be sent by a client that asks first, and is not read to
        its end when that would take for ever."""
        asks_first = any(name == b"expect" for name, _ in exchange.headers)
        if size > DISCARD_LIMIT or (asks_first and size > self.app.service.limits.body_bytes):
            exchange.body.size = size
            exchange.keep_alive = False
            self._arrived(exchange)

    def on_body(self, body: bytes) -> None:
        incoming = self._incoming
        if isinstance(incoming, Exchange):
            incoming.body.add(body)
            if incoming.body.hopeless:
                incoming.keep_alive = False
                self._arrived(incoming)
        elif incoming is not None and not incoming.response_complete:
            incoming.body += body
            if len(incoming.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            incoming.message_event.set()

    def on_message_complete(self) -> None:
        incoming = self._incoming
        if isinstance(incoming, Exchange):
            self._arrived(incoming)
        elif incoming is not None:
            self._incoming = self.waiting_since = None
            if not incoming.response_complete:
                incoming.more_body = False
                incoming.message_event.set()
            elif self._current is None:
                self.idle_since = self.loop.time()
        else:
            self.waiting_since = None

    # -- answering, in turn

    def _arrived(self, exchange: Exchange) -> None:
        self._incoming = self.waiting_since = None
        self._read = exchange
        self._take(exchange)

    def _take(self, turn: Turn) -> None:
        """Answer it now, or when what came before is answered."""
        if self._current is None:
            self._answer(turn)
        else:
            self._line.append(turn)
            self.flow.pause_reading()

    def _answer(self, turn: Turn) -> None:
        self._current = turn
        if isinstance(turn, Exchange):
            call = Call(
                turn.method,
                turn.path,
                turn.query_string,
                turn.headers,
                turn.body.whole(),
                oversize=turn.body.oversize,
                address=self._address,
            )
            self.app.begin(turn.methods, call, self._reply)
        elif isinstance(turn, RequestResponseCycle):
            task = self.loop.create_task(turn.run_asgi(self._asgi))
            task.add_done_callback(self.state.tasks.discard)
            self.state.tasks.add(task)
        else:
            self._refuse(turn)

    def _reply(self, reply: Reply) -> None:
        exchange = self._current
        if self.transport.is_closing() or not isinstance(exchange, Exchange):
            return
        close = not exchange.keep_alive or (self._is_last and not self._line)
        head = head_of(reply, self.state, close=close)
        self.transport.write(head if exchange.method == "HEAD" else head + reply.body)
        if close or (b"connection", b"close") in reply.headers:
            self.transport.close()
        else:
            self._answered()

    def _answered(self) -> None:
        """On to the next in line; to be called once a response is complete."""
        self._current = None
        if self.transport.is_closing():
            return
        if self._line:
            # Through the loop: a hundred requests in one packet are no reason to recurse a hundred deep.
            self.loop.call_soon(self._next)
            return
        if self._is_last:
            self.transport.close()
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        incoming = self._incoming
        if incoming is None and not self._in_head:
            self.idle_since = self.loop.time()
        elif isinstance(incoming, Exchange) and incoming.expects:
            self._go_ahead(incoming)

    def _next(self) -> None:
        if self._current is None and self._line and not self.transport.is_closing():
            self._answer(self._line.popleft())

    def _go_ahead(self, exchange: Exchange) -> None:
        exchange.expects = False
        self.transport.write(CONTINUE)

    # -- everything that is not in the table

    def _begin_cycle(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        url = httptools.parse_url(self._url)
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers)
        raw_path: bytes = url.path or b"/"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "http",
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "state": {},
        }
        cycle = RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]  # a TypedDict of just these
            transport=self.transport,
            flow=self.flow,
            logger=_log,
            access_logger=_log,
            access_log=False,
            default_headers=self.state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self._answered,
        )
        self._incoming = cycle
        self._take(cycle)


async def sweep_forever(connections: set[Any], every_s: float = 1.0) -> None:
    """Look at every open connection once in a while; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every_s)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, PatientProtocol):
                connection.sweep(now)
