"""A real server in its own process, and a way between it and its clients that loses requests and answers."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

NODE = Path(__file__).parent / "node"
WRITE_KEY = "wk_contracts"
SECRET_KEY = "sk_contracts"
EXPERIMENTS = """
experiments:
  - {id: banner, arms: [{id: "off", value: false}, {id: "on", value: true}]}
  - {id: headline, arms: [{id: plain, weight: 0}, {id: loud, weight: 1}]}
  - {id: discount, arms: [{id: none, weight: 0, value: 0.0}, {id: one, weight: 1, value: 1.0}]}
  - {id: tiles, arms: [{id: four, weight: 0, value: 4}, {id: eight, weight: 1, value: 8}]}
  - {id: layout, arms: [{id: a, weight: 0, value: {}}, {id: b, weight: 1, value: {columns: [1, 2]}}]}
  - {id: germans, audience: {context.country: DE}, arms: [{id: a, value: false}, {id: b, value: true}]}
  - {id: over, status: stopped, arms: [{id: a}, {id: b}]}
"""
"""What is served as flags."""
COUNTS = ("received", "stored", "duplicate", "rejected", "suppressed", "filtered")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """The running server, asked only through its public interface."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.write_key = WRITE_KEY
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {SECRET_KEY}"}, timeout=10)

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self._http.post(path, json=body)

    def counts(self) -> dict[str, int]:
        answer = self._http.get("/v1/accounting").raise_for_status().json()
        assert answer["balanced"] is True
        return {name: answer["total"][name] for name in COUNTS}

    def profile(self, identifier: str) -> dict[str, Any]:
        answer = self._http.get(f"/v1/profiles/{quote(identifier)}").raise_for_status().json()
        assert isinstance(answer, dict)
        return answer

    def letters(self) -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = (
            self._http.get("/v1/dead-letters").raise_for_status().json()["letters"]
        )
        return letters

    def close(self) -> None:
        self._http.close()


class Since:
    """How the accounting moved since this was made."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.before = served.counts()

    def moved(self) -> dict[str, int]:
        after = self.served.counts()
        return {name: after[name] - self.before[name] for name in COUNTS if after[name] != self.before[name]}

    def wait_for(self, expected: dict[str, int], seconds: float = 15.0) -> None:
        """Clients send in the background: wait until the accounting has moved by exactly this, and then see
        that it stays so."""
        deadline = time.monotonic() + seconds
        while self.moved() != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.moved() == expected
        time.sleep(0.1)
        assert self.moved() == expected


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("contracts") / "data"
    port = free_port()
    workspace = data.parent / "workspace"
    workspace.mkdir()
    (workspace / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    log = (data.parent / "log").open("wb")
    command = Path(sys.executable).with_name("opportune")
    server = subprocess.Popen(
        [
            command,
            "serve",
            "--data-dir",
            data,
            "--workspace",
            workspace,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        env={**os.environ, "OPPORTUNE_WRITE_KEY": WRITE_KEY, "OPPORTUNE_SECRET_KEY": SECRET_KEY},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    served = Served(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if served.get("/ready").status_code == 200:
                    break
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{(data.parent / 'log').read_text()[-4_000:]}")
            time.sleep(0.1)
        yield served
    finally:
        served.close()
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


@pytest.fixture
def since(served: Served) -> Since:
    return Since(served)


class Seen(msgspec.Struct):
    """A request as it passed, and the status that the client got for it (0: none, the connection broke)."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int


class Way:
    """A proxy in front of the server that records every request and can spoil POSTs, in the order scripted:

    - ``503``, ``429`` and the like: answered without the server ever seeing it;
    - ``lost``: the server takes it, but the answer turns into a 500 (the acknowledgement is lost);
    - ``broken``: the server takes it, and the connection breaks before the answer.
    """

    def __init__(self, url: str) -> None:
        self.seen: list[Seen] = []
        self.script: list[int | str] = []
        target = httpx.URL(url)
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def pass_on(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                spoil = way.script.pop(0) if self.command == "POST" and way.script else None
                seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body, 0)
                way.seen.append(seen)
                if isinstance(spoil, int):
                    headers = {"retry-after": "1"} if spoil == 429 else {}
                    headers["content-type"] = "application/json"
                    self.answer(seen, spoil, headers, b'{"code":"spoiled","message":"not this time"}')
                    return
                upstream = http.client.HTTPConnection(target.host, target.port, timeout=10)
                try:
                    upstream.request(self.command, self.path, body, dict(self.headers.items()))
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                if spoil == "broken":
                    self.close_connection = True
                    return
                if spoil == "lost":
                    self.answer(seen, 500, {}, b'{"code":"lost","message":"after the fact"}')
                    return
                self.answer(seen, answer.status, dict(answer.getheaders()), content)

            def answer(self, seen: Seen, status: int, headers: dict[str, str], content: bytes) -> None:
                seen.status = status
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in (
                        "content-length",
                        "connection",
                        "transfer-encoding",
                        "date",
                        "server",
                    ):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_OPTIONS = pass_on  # noqa: N815  # the names that http.server calls

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    def statuses(self) -> list[int]:
        return [seen.status for seen in self.posts()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def way(served: Served) -> Iterator[Way]:
    way = Way(served.url)
    yield way
    way.close()


@pytest.fixture(scope="session")
def node_clients() -> Path:
    """The npm clients at the versions that ``node/package.json`` pins, installed once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js")
    with (NODE / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may come here at once
        _install()
    return NODE


def _install() -> None:
    wanted = msgspec.json.decode((NODE / "package.json").read_bytes())["dependencies"]
    for name, version in wanted.items():
        installed = NODE / "node_modules" / name / "package.json"
        if not installed.exists() or msgspec.json.decode(installed.read_bytes())["version"] != version:
            subprocess.run(
                ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=NODE,
                check=True,
                timeout=300,
            )
            break
