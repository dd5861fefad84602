"""One ASGI application: the API's exact paths by dictionary, before anything else; the rest by Starlette."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as PathRoute

from opportune.clock import Clock, system_clock
from opportune.errors import Forbidden, NotFound, OpportuneError, Overloaded
from opportune.server.auth import Keys, Reach
from opportune.server.call import JSON, Call, Header, Receive, Reply, Scope, Send, encode_json
from opportune.server.contract import ServedEngine
from opportune.server.ingest import authorize
from opportune.server.refusals import ClientGone, MethodNotAllowed
from opportune.server.routes import ROUTES, Route
from opportune.server.service import Limits, Service
from opportune.server.writer import GroupWriter

log = logging.getLogger("opportune.server")

CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after,opportune-decision-id"),
)
PREFLIGHT = Reply(
    204,
    b"",
    (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"POST,OPTIONS"),
        (b"access-control-allow-headers", b"authorization,content-type,x-api-key,x-retry-count"),
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
        self._exact: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in ROUTES:
            table = patterns if "{" in route.path else self._exact
            table.setdefault(route.path, {})[route.method] = route
        self._rest = Starlette(
            routes=[
                *(PathRoute(path, _Pattern(self, methods)) for path, methods in patterns.items()),
                *extra_mounts,
            ],
            exception_handlers={HTTPException: _http_error, OpportuneError: _refused, Exception: _unexpected},
        )
        self._rest.router.redirect_slashes = False
        service.metrics.gauges["writer_queue_events"] = lambda: float(service.writer.queued)
        service.metrics.gauges["ready"] = lambda: float(service.writer.healthy)
        service.metrics.engine_gauges = service.engine.gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            methods = self._exact.get(scope["path"])
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
        methods: dict[str, Route],
        scope: Scope,
        receive: Receive,
        send: Send,
        params: dict[str, str] | None = None,
    ) -> None:
        """One route of the table, from request to reply: keys, handler, errors, metrics."""
        started = perf_counter()
        method = scope["method"]
        route = methods.get("GET" if method == "HEAD" else method)
        call = Call(scope, receive, params)
        extra: tuple[Header, ...] = ()
        if route is None:
            route = next(iter(methods.values()))
            reply = PREFLIGHT if method == "OPTIONS" else self._wrong_method(route, methods, method)
        else:
            try:
                if route.access == "secret" and authorize(self.service, call) is not Reach.SECRET:
                    raise Forbidden(
                        "this needs the secret key", remedy="the write key only captures and decides"
                    )
                reply = await route.handler(self.service, call)
            except OpportuneError as error:
                reply = refusal(error)
                self.service.metrics.refused(route.path, error.code)
            except ClientGone:
                self.service.metrics.refused(route.path, "client_gone")
                return
            except Exception:  # the process edge: counted, logged, and answered
                log.exception("unexpected error in %s %s", route.method, route.path)
                self.service.metrics.internal_error(route.path)
                reply = INTERNAL
        if route.cors:
            extra = CORS
        await _send(send, reply, extra)
        self.service.metrics.request(route.method, route.path, reply.status, perf_counter() - started)

    def _wrong_method(self, route: Route, methods: dict[str, Route], method: str) -> Reply:
        allowed = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        error = MethodNotAllowed(method, allowed)
        self.service.metrics.refused(route.path, error.code)
        return refusal(error)

    async def _fall_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS" and scope["path"].startswith("/v1/"):
            await _send(send, PREFLIGHT, ())
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

    def __init__(self, app: App, methods: dict[str, Route]) -> None:
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


async def _send(send: Callable[[Scope], Awaitable[None]], reply: Reply, extra: tuple[Header, ...]) -> None:
    status, body, headers = reply
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": (*headers, (b"content-length", b"%d" % len(body)), *extra),
        }
    )
    await send({"type": "http.response.body", "body": body})


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
    )
    return App(service, extra_mounts, warm=warm)
