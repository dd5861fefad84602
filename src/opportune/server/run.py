"""Running the server: limits, garbage collection, one ready line, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence

import uvicorn
from starlette.routing import BaseRoute

from opportune.access.audit import Audit
from opportune.clock import Clock, system_clock
from opportune.server.app import App, create_app
from opportune.server.auth import Keys
from opportune.server.contract import ServedEngine
from opportune.server.metrics import Metrics
from opportune.server.protocol import Patience, PatientProtocol, sweep_forever
from opportune.server.rates import Limiter, Rates
from opportune.server.refusals import CannotListen
from opportune.server.writer import GroupWriter

log = logging.getLogger("opportune.server")

SWITCH_INTERVAL_S = 0.0005
"""The flush thread comes back from the disk wanting the interpreter; 5 ms, Python's default, would be its
wait behind a busy loop."""

FREEZE_EVERY_S = 20.0


def serve(
    engine: ServedEngine,
    host: str,
    port: int,
    *,
    keys: Keys,
    extra_mounts: Sequence[BaseRoute] = (),
    warm: Callable[[], None] | None = None,
    clock: Clock = system_clock,
    patience: Patience | None = None,
    announce: Callable[[str], None] | None = None,
    audit: Audit | None = None,
    rates: Rates | Limiter | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT: stop accepting, finish what is under way, flush. The caller closes the
    engine afterwards (a last checkpoint). ``port`` 0 takes a free one. ``warm`` compiles kernels and touches
    pages before the port opens; ``announce`` gets the base address once requests would be answered.

    Raises :class:`CannotListen` when the address cannot be listened on.
    """
    writer = GroupWriter(engine, Metrics())
    app = create_app(
        engine,
        writer,
        keys=keys,
        extra_mounts=extra_mounts,
        warm=warm,
        clock=clock,
        audit=audit,
        rates=rates,
    )
    listener = _listen(host, port)
    try:
        run(app, listener, patience=patience, announce=announce)
    finally:
        listener.close()


def run(
    app: App,
    listener: socket.socket,
    *,
    patience: Patience | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run an application on a bound socket; blocks until a signal."""
    chosen = patience or Patience()
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    protocol = type("ServedProtocol", (PatientProtocol,), {"patience": chosen})
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a walk through every request's headers for an address nothing here reads
        timeout_keep_alive=int(chosen.keep_alive_s),
        timeout_graceful_shutdown=10,
        backlog=2_048,
    )
    server = _Server(config, announce or _print_ready)
    try:
        server.run(sockets=[listener])
    finally:
        gc.unfreeze()  # what is frozen at the end is never freed, and extension modules complain of it


class _Server(uvicorn.Server):
    """Announces itself once it answers, and keeps house while it runs."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._chores: list[asyncio.Task[None]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """uvicorn raises the signal again once it has stopped, which would end the process before the engine
        is closed; here the caller goes on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit:
            return
        quiet_collector()
        self._chores = [
            asyncio.create_task(sweep_forever(self.server_state.connections)),
            asyncio.create_task(_freeze_forever()),
        ]
        if sockets:
            self._announce(address_of(sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for chore in self._chores:
            chore.cancel()
        await super().shutdown(sockets)


def quiet_collector() -> None:
    """Keep the cyclic collector away from what will live for ever.

    A full collection walks every live profile: 0.5 s for 200,000 of them, with the world stopped. What was
    loaded is frozen out of its sight; young generations stay small, so a collection is about a millisecond at
    most; the oldest is emptied by freezing every 20 s instead of ever being walked. A frozen object is
    still freed by its reference count; only a *cycle* that lived through two young collections stays, and the
    request path makes none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000, 1, 1_000_000)


async def _freeze_forever() -> None:
    while True:
        await asyncio.sleep(FREEZE_EVERY_S)
        gc.freeze()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {host} port {port} ({error.strerror})", remedy="choose another --port"
        ) from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _print_ready(address: str) -> None:
    print(f"ready on {address}", flush=True)


def _raise_file_limit() -> None:
    """A connection is a file; the usual soft limit of 1,024 is for shells."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d: %s", soft, error)
