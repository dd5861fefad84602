"""A small engine that keeps the server's contract in memory, and a real server around it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
import uvloop

from opportune.decide.request import (
    DecideRequest,
    DecideResponse,
    Decision,
    ExperimentInfo,
    RankedItem,
    Reason,
)
from opportune.errors import InvalidRequest, NotFound
from opportune.events.verdicts import Verdict
from opportune.identity.corrections import Together, correction
from opportune.server.app import App, create_app
from opportune.server.auth import Keys
from opportune.server.contract import RawItem
from opportune.server.metrics import Metrics
from opportune.server.protocol import Patience, PatientProtocol, sweep_forever
from opportune.server.writer import GroupWriter

KEYS = Keys(write="wk_test", secret="sk_test")


class SmallAdmission:
    def __init__(self, verdicts: list[Verdict], events: list[dict[str, Any]]) -> None:
        self.verdicts = verdicts
        self.events = events


class SmallEngine:
    """Stores what is an object with a ``type``, rejects everything else, remembers every argument."""

    def __init__(self) -> None:
        self.admitted: list[dict[str, Any]] = []
        self.appended: list[SmallAdmission] = []
        self.durable: list[SmallAdmission] = []
        self.applied: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        self.letters: dict[str, bytes] = {}
        self.requests: list[DecideRequest] = []
        self.flushes = 0
        self.groups: list[int] = []
        self.flush_delay_s = 0.0
        self.flush_error: Exception | None = None
        self.apply_error: Exception | None = None
        self.decide_error: Exception | None = None
        self.reopened = 0
        self.is_ready = True

    def admit(
        self, raw_items: Sequence[RawItem], *, kind: str | None, position: int = 0, **about: Any
    ) -> SmallAdmission:
        items = [bytes(item) for item in raw_items]
        self.admitted.append({"items": items, "kind": kind, **about})
        return self._admit(items, kind, position)

    def _admit(self, items: list[bytes], kind: str | None, position: int = 0) -> SmallAdmission:
        verdicts, events = [], []
        for index, item in enumerate(items, position):
            try:
                event = msgspec.json.decode(item)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                verdicts.append(self._reject(index, item, "unreadable", str(error)))
                continue
            if not isinstance(event, dict) or not (kind or event.get("type")):
                verdicts.append(self._reject(index, item, "unknown_type", "an event needs a type"))
                continue
            message_id = str(event.get("messageId", event.get("id", "")))
            if message_id and message_id in self.seen:
                verdicts.append(Verdict(index, message_id, "duplicate"))
                continue
            self.seen.add(message_id)
            events.append(event)
            verdicts.append(Verdict(index, message_id, "stored"))
        return SmallAdmission(verdicts, events)

    def _reject(self, index: int, item: bytes, code: str, reason: str) -> Verdict:
        letter_id = f"dl{len(self.letters) + 1}"
        self.letters[letter_id] = item
        return Verdict(index, None, "rejected", code, reason, "$", letter_id)

    def append(self, admissions: Sequence[SmallAdmission]) -> None:
        self.appended.extend(admissions)
        self.groups.append(len(admissions))

    def flush(self) -> None:
        batch = list(self.appended)
        if self.flush_delay_s:
            time.sleep(self.flush_delay_s)
        if self.flush_error is not None:
            raise self.flush_error
        self.flushes += 1
        self.durable.extend(batch)
        del self.appended[: len(batch)]

    def apply(self, admissions: Sequence[SmallAdmission]) -> None:
        if self.apply_error is not None:
            raise self.apply_error
        for admission in admissions:
            assert admission in self.durable, "folded before it was on disk"
            self.applied.extend(admission.events)

    def maintain(self, budget_s: float) -> bool:
        return False

    def reopen(self) -> None:
        if self.flush_error is not None:
            raise self.flush_error
        self.appended.clear()
        self.reopened += 1

    def decide(self, request: DecideRequest) -> DecideResponse:
        if self.decide_error is not None:
            raise self.decide_error
        self.requests.append(request)
        names = request.placements or [request.placement]
        if "nowhere" in names:
            raise NotFound("no placement has this name", seen="nowhere", where="$.placement")
        if request.count is not None and not 1 <= request.count <= 200:
            raise InvalidRequest("count must be 1 to 200", seen=request.count, where="$.count")
        return DecideResponse([self._decision(name, request.count or 8) for name in names])

    def _decision(self, placement: str, count: int) -> Decision:
        items = [
            RankedItem(
                f"sku{rank}", rank, 1 / rank, [Reason("popular", "popular now")], {"title": f"Item {rank}"}
            )
            for rank in range(1, count + 1)
        ]
        return Decision(
            decision_id=f"d-{placement}",
            placement=placement,
            items=items,
            content={},
            experiment=ExperimentInfo(),
            consent="personal",
            degraded=["rank: late"],
            took_ms={"total": 0.6, "candidates": 0.2},
        )

    def profile(self, identifier: str) -> dict[str, Any]:
        if identifier.startswith("user_id:ghost"):
            raise NotFound("nobody has this identifier", seen=identifier)
        kind, _, value = identifier.partition(":")
        return {
            "id": identifier,
            "identifiers": [{"identifier": identifier, "type": kind, "value": value, "first_seen": 1}],
            "traits": {f"t{n}": {"value": n, "source_id": "default", "updated_at": 5} for n in range(3)},
            "recent": [{"item_id": f"sku{n}"} for n in range(5)],
            "links": [{"from": identifier, "to": "email:a@b.c", "evidence": "identify"}],
            "first_seen": 1,
            "last_seen": 2,
        }

    def decision(self, decision_id: str) -> dict[str, Any]:
        if decision_id != "d-home_recs":
            raise NotFound("no decision has this id", seen=decision_id)
        return {"decision_id": decision_id}

    def relink(self, a: str, b: str, action: Any, *, who: str, why: str) -> SmallAdmission:
        correction(a, b, action, self.together(a, b))
        return SmallAdmission([], [{"a": a, "b": b, "action": action, "who": who, "why": why}])

    def together(self, a: str, b: str) -> Together:
        return Together(a, b, False, a, (a,), (), "limit:user_id")

    def reviews(self, limit: int) -> dict[str, Any]:
        return {"reviews": [], "more": False}

    def corrections(self, limit: int) -> list[dict[str, Any]]:
        return []

    def accounting(self) -> dict[str, Any]:
        return {"sources": {"default": {"received": len(self.applied), "stored": len(self.applied)}}}

    def dead_letters(self, cursor: str, limit: int, code: str) -> dict[str, Any]:
        letters = [{"letter_id": name, "raw": raw.decode("latin-1")} for name, raw in self.letters.items()]
        return {
            "letters": letters[:limit],
            "cursor": {"next": "", "code": code, "from": cursor},
            "summary": {},
        }

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None) -> SmallAdmission:
        if letter_id not in self.letters:
            raise NotFound("no dead letter has this id", seen=letter_id)
        return self._admit([fixed or self.letters[letter_id]], None)

    def discard_dead_letter(self, letter_id: str) -> SmallAdmission:
        if letter_id not in self.letters:
            raise NotFound("no dead letter has this id", seen=letter_id)
        del self.letters[letter_id]
        return SmallAdmission([], [])

    def ready(self) -> dict[str, Any]:
        return {"ready": self.is_ready, "checkpoint_offset": 7}

    def gauges(self) -> dict[str, float]:
        return {"dedupe_entries": float(len(self.seen)), "checkpoint_age_seconds": 1.5}


class RunningServer:
    """A real uvicorn on a free port, its loop in a thread of this process."""

    def __init__(self, app: App, patience: Patience, sweep_s: float) -> None:
        self.app = app
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._sweep_s = sweep_s
        protocol = type("TestProtocol", (PatientProtocol,), {"patience": patience})
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, args=(listener,))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def _run(self, listener: socket.socket) -> None:
        async def main() -> None:
            sweeper = asyncio.create_task(sweep_forever(self._server.server_state.connections, self._sweep_s))
            await self._server.serve(sockets=[listener])
            sweeper.cancel()

        uvloop.run(main())
        listener.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[SmallEngine, RunningServer]]:
    engine = SmallEngine()
    app = create_app(engine, GroupWriter(engine, Metrics(), reopen_every_s=0.05), keys=KEYS)
    server = RunningServer(app, Patience(), sweep_s=1.0)
    yield engine, server
    server.stop()


@pytest.fixture
def engine(shared: tuple[SmallEngine, RunningServer]) -> SmallEngine:
    """As new for every test, though the server around it lives on: once it has flushed for the one before."""
    writer = shared[1].app.service.writer
    deadline = time.monotonic() + 2
    while (writer.queued or writer._nudged or writer._flushing) and time.monotonic() < deadline:
        time.sleep(0.001)
    SmallEngine.__init__(shared[0])
    return shared[0]


@pytest.fixture
def make_server(engine: SmallEngine) -> Iterator[Callable[..., RunningServer]]:
    running: list[RunningServer] = []

    def make(
        *,
        patience: Patience | None = None,
        sweep_s: float = 1.0,
        writer: GroupWriter | None = None,
        **options: Any,
    ) -> RunningServer:
        writer = writer or GroupWriter(engine, Metrics(), reopen_every_s=0.05)
        app = create_app(engine, writer, **{"keys": KEYS, **options})
        server = RunningServer(app, patience or Patience(), sweep_s)
        running.append(server)
        return server

    yield make
    for server in running:
        server.stop()


@pytest.fixture
def server(shared: tuple[SmallEngine, RunningServer], engine: SmallEngine) -> RunningServer:
    return shared[1]


@pytest.fixture(scope="session")
def start() -> Callable[..., RunningServer]:
    """Serve any engine; who calls it stops it."""

    def over(engine: Any) -> RunningServer:
        app = create_app(engine, GroupWriter(engine, Metrics()), keys=KEYS)
        return RunningServer(app, Patience(), sweep_s=1.0)

    return over


@pytest.fixture(scope="session")
def clients(shared: tuple[SmallEngine, RunningServer]) -> Iterator[dict[str, httpx.Client]]:
    """Kept for the whole run: making a client reads every certificate of the machine, 0.1 s."""
    url = shared[1].url
    ways: dict[str, dict[str, Any]] = {
        "anonymous": {},
        "public": {"auth": (KEYS.write, "")},
        "private": {"headers": {"authorization": f"Bearer {KEYS.secret}"}},
    }
    made = {name: httpx.Client(base_url=url, timeout=10, **how) for name, how in ways.items()}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def anonymous(clients: dict[str, httpx.Client], engine: SmallEngine) -> httpx.Client:
    return clients["anonymous"]


@pytest.fixture
def public(clients: dict[str, httpx.Client], engine: SmallEngine) -> httpx.Client:
    """A client with the write key."""
    return clients["public"]


@pytest.fixture
def private(clients: dict[str, httpx.Client], engine: SmallEngine) -> httpx.Client:
    """A client with the secret key."""
    return clients["private"]
