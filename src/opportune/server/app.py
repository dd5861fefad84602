"""One ASGI application: the API's exact paths by dictionary, before anything else; the rest by Starlette."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as PathRoute

from opportune.access.audit import Audit, Unaudited
from opportune.clock import Clock, system_clock
from opportune.errors import NotFound, OpportuneError, Overloaded
from opportune.server.addresses import network
from opportune.server.auth import Keys
from opportune.server.body import Gathering
from opportune.server.call import JSON, Call, Header, Reply, encode_json
from opportune.server.contract import ServedEngine
from opportune.server.ingest import authorize, needs
from opportune.server.known import Heads
from opportune.server.pending import Pending
from opportune.server.rates import Limiter, Rates
from opportune.server.refusals import ClientGone, MethodNotAllowed
from opportune.server.routes import ROUTES, Route
from opportune.server.service import Limits, Service
from opportune.server.turn import LoopTurn, PostLine
from opportune.server.writer import GroupWriter

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Methods = dict[str, Route]

log = logging.getLogger("opportune.server")

CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after,etag,opportune-decision-id"),
)
PREFLIGHT = Reply(
    204,
    b"",
    (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"POST,OPTIONS"),
        (
            b"access-control-allow-headers",
            b"authorization,content-type,if-none-match,x-api-key,x-retry-count",
        ),
        (b"access-control-max-age", b"86400"),
    ),
)
INTERNAL = Reply(500, encode_json({"code": "internal", "message": "an unexpected error; it was logged"}))


class App:
    """Starts and stops the writer with the ASGI lifespan; ``warm`` runs before the first connection."""

    def __init__(
        self,
        service: Service,
        extra_mounts: Sequence[BaseRoute] = (),
        *,
        warm: Callable[[], None] | None = None,
    ) -> None:
        self.service = service
        self.warm = warm
        self._turn = LoopTurn(service.limits.turn_s)
        self._posts = PostLine()
        self.heads = Heads()
        self.exact: dict[bytes, Methods] = {}
        patterns: dict[str, Methods] = {}
        for route in ROUTES:
            if "{" in route.path:
                patterns.setdefault(route.path, {})[route.method] = route
            else:
                self.exact.setdefault(route.path.encode(), {})[route.method] = route
        self._rest = Starlette(
            routes=[
                *(PathRoute(path, _Pattern(self, methods)) for path, methods in patterns.items()),
                *extra_mounts,
            ],
            exception_handlers={HTTPException: _http_error, OpportuneError: _refused, Exception: _unexpected},
        )
        self._rest.router.redirect_slashes = False
        service.metrics.gauges["writer_queue_events"] = lambda: float(service.writer.queued)
        service.metrics.gauges["posts_in_line"] = lambda: float(len(self._posts))
        service.metrics.gauges["ready"] = lambda: float(service.writer.healthy)
        service.metrics.engine_gauges = service.engine.gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            methods = self.exact.get(scope["path"].encode())
            if methods is not None:
                await self.answer(methods, scope, receive, send)
            else:
                await self._fall_back(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._rest(scope, receive, send)

    async def answer(
        self,
        methods: Methods,
        scope: Scope,
        receive: Receive,
        send: Send,
        params: dict[str, str] | None = None,
    ) -> None:
        """One route of the table over ASGI: for paths with parameters, and under servers other than ours."""
        try:
            body = await _gather(scope, receive, self.service.limits.body_bytes)
        except ClientGone:
            self.service.metrics.refused(next(iter(methods.values())).path, "client_gone")
            return
        call = Call(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["headers"],
            body.whole(),
            oversize=body.oversize,
            params=params,
            scheme=scope.get("scheme", "http"),
            address=network((scope.get("client") or ("",))[0]),
        )
        replied: Pending[Reply] = Pending()
        self.begin(methods, call, replied.succeed)
        status, content, headers = await replied
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": (*headers, (b"content-length", b"%d" % len(content))),
            }
        )
        await send({"type": "http.response.body", "body": content})

    def begin(self, methods: Methods, call: Call, done: Callable[[Reply], None]) -> None:
        """One route of the table, from request to reply: keys, handler, errors, metrics. ``done`` gets the
        reply: now, or once the disk has what was posted."""
        started = perf_counter()
        method = call.method
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            route = next(iter(methods.values()))
            refused = PREFLIGHT if method == "OPTIONS" else self._wrong_method(route, methods, method)
            self._finish(route, refused, started, done)
        elif route.tag == "capture" and not self._posts.may_begin(started):
            try:
                self._posts.stand(started, partial(self._handle, route, call, started, done))
            except Overloaded as error:
                self._finish(route, self._failed(route, error), started, done)
        else:
            self._handle(route, call, started, done)

    def _handle(self, route: Route, call: Call, started: float, done: Callable[[Reply], None]) -> None:
        reply: Reply | Pending[Reply]
        try:
            if route.access == "write":
                if self._turn.is_over():
                    raise Overloaded("more requests are arriving than can be answered", retry_after_s=1)
            elif route.access != "open":
                self._guard(route, call)
            reply = route.handler(self.service, call)
        except Exception as error:  # noqa: BLE001  # the process edge: counted, logged, and answered
            reply = self._failed(route, error)
        if type(reply) is Reply:
            self._finish(route, reply, started, done)
            return

        def settled(pending: Pending[Reply]) -> None:
            try:
                found = pending.result()
            except Exception as error:  # noqa: BLE001  # the process edge: counted, logged, and answered
                found = self._failed(route, error)
            self._finish(route, found, started, done)

        reply.then(settled)  # type: ignore[union-attr]  # a Reply was sorted out above

    def _guard(self, route: Route, call: Call) -> None:
        """The key must have the route's scope. Who has a key and tries more than it allows is noted."""
        grant = call.grant = authorize(self.service, call)
        if not grant.allows(route.access):
            self.service.audit.note(grant.who, "refused", route=f"{route.method} {route.path}")
            raise needs(route.access)

    def _finish(self, route: Route, reply: Reply, started: float, done: Callable[[Reply], None]) -> None:
        if route.cors and reply is not PREFLIGHT:
            status, body, headers = reply
            reply = Reply(status, body, headers + CORS)
        self.service.metrics.request(route.method, route.path, reply.status, perf_counter() - started)
        done(reply)

    def _failed(self, route: Route, error: Exception) -> Reply:
        if isinstance(error, OpportuneError):
            self.service.metrics.refused(route.path, error.code)
            return refusal(error)
        log.error("unexpected error in %s %s", route.method, route.path, exc_info=error)
        self.service.metrics.internal_error(route.path)
        return INTERNAL

    def _wrong_method(self, route: Route, methods: Methods, method: str) -> Reply:
        allowed = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        error = MethodNotAllowed(method, allowed)
        self.service.metrics.refused(route.path, error.code)
        return refusal(error)

    async def _fall_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS" and scope["path"].startswith("/v1/"):
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT.headers})
            await send({"type": "http.response.body", "body": b""})
            return
        scope.setdefault("state", {})["service"] = self.service
        started = perf_counter()
        status = 500

        async def watch(message: Scope) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._rest(scope, receive, watch)
        except ClientGone:
            return
        except Exception:  # the process edge; Starlette has answered 500 already
            log.exception("unexpected error in a page")
            self.service.metrics.internal_error("pages")
        if "answered" not in scope:
            endpoint = getattr(scope.get("endpoint"), "__name__", "unknown")
            self.service.metrics.request(scope["method"], endpoint, status, perf_counter() - started)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.service.writer.start()
            if self.warm is not None:
                self.warm()
        except OpportuneError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.service.writer.stop()
        await send({"type": "lifespan.shutdown.complete"})


class _Pattern:
    """A route with a parameter in its path, found by Starlette, answered like the others."""

    def __init__(self, app: App, methods: Methods) -> None:
        self.app = app
        self.methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["answered"] = True
        await self.app.answer(self.methods, scope, receive, send, scope["path_params"])


def refusal(error: OpportuneError) -> Reply:
    headers: tuple[Header, ...] = (JSON,)
    if isinstance(error, Overloaded):
        headers = (JSON, (b"retry-after", b"%d" % error.retry_after_s))
    elif isinstance(error, MethodNotAllowed):
        headers = (JSON, (b"allow", error.allowed.encode()))
    elif error.status == 401:
        headers = (JSON, (b"www-authenticate", b'Bearer realm="opportune"'))
    elif error.code == "too_large":
        headers = (JSON, (b"connection", b"close"))  # what follows on this connection is the rest of the body
    return Reply(error.status, encode_json(error.to_dict()), headers)


async def _gather(scope: Scope, receive: Receive, limit: int) -> Gathering:
    body = Gathering(limit)
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body.add(message.get("body", b""))
        if body.hopeless or not message.get("more_body", False):
            return body


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        body = NotFound("nothing is here", seen=request.url.path, remedy="see /docs").to_dict()
    else:
        detail = error.detail if isinstance(error, HTTPException) else "an unexpected error"
        body = {"code": "http_error", "message": detail}
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse(body, status_code=status, headers=headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Answers; the error itself goes on to the edge, where it is counted and logged."""
    return Response(INTERNAL.body, status_code=INTERNAL.status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, OpportuneError):
        raise error
    reply = refusal(error)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, status_code=reply.status, headers=headers)


def create_app(
    engine: ServedEngine,
    writer: GroupWriter,
    *,
    keys: Keys,
    extra_mounts: Sequence[BaseRoute] = (),
    warm: Callable[[], None] | None = None,
    clock: Clock = system_clock,
    limits: Limits | None = None,
    audit: Audit | None = None,
    rates: Rates | Limiter | None = None,
    rate_clock: Callable[[], float] = monotonic,
) -> App:
    """The ASGI application. ``extra_mounts`` are Starlette routes (console, storefront); they find the
    :class:`Service` at ``request.state.service``."""
    service = Service(
        engine=engine,
        writer=writer,
        keys=keys,
        metrics=writer.metrics,
        clock=clock,
        limits=limits or Limits(),
        audit=audit or Unaudited(),
        limiter=Limiter(rates, rate_clock) if isinstance(rates, Rates) else rates,
    )
    return App(service, extra_mounts, warm=warm)
