"""The roles as processes: posted at the gateway, asked at the mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from scripts.cluster.parts import free_port
from tests.cluster.conftest import playing

from opportune.streams.topics import Topics

KEYS = {"OPPORTUNE_WRITE_KEY": "wk-roles", "OPPORTUNE_SECRET_KEY": "sk-roles"}
EVENT = {"event": "Product Viewed", "userId": "u1", "messageId": "m1", "properties": {"product_id": "i1"}}


@pytest.mark.usefixtures("topics")
def test_what_a_gateway_acknowledged_is_in_the_mirrors_profiles_and_its_console_answers(
    file: Path, tmp_path: Path, topics: Topics
) -> None:
    ports = {role: free_port() for role in ("gateway", "derive", "learn")}
    served = {role: _serve(role, port, file, tmp_path) for role, port in ports.items()}
    try:
        with playing("fold", file, tmp_path / "f"):
            _until(lambda: _ask(ports["gateway"], "/ready")[0] == 200)
            assert _ask(ports["gateway"], "/v1/track", EVENT)[0] == 200
            _until(lambda: _ask(ports["derive"], "/v1/profiles/user_id:u1")[0] == 200)
            assert _ask(ports["derive"], "/v1/profiles/user_id:u1")[1]["events"] == {"product_viewed": 1}
            assert _ask(ports["derive"], "/ready")[1]["roles"] == ["derive"]
            _until(lambda: _ask(ports["learn"], "/ready")[0] == 200)
            assert _ask(ports["learn"], "/ready")[1]["started_from"] == "the journal"
            assert _ask(ports["learn"], "/v1/track", EVENT)[0] == 421
            _until(lambda: b"opportune_snapshot_age_seconds" in _ask(ports["learn"], "/metrics")[1])
            assert _ask(ports["derive"], "/console/login")[0] == 200
            refused = _ask(ports["derive"], "/v1/track", EVENT)
            assert refused[0] == 421
            assert "ask a gateway" in json.dumps(refused[1])
    finally:
        for process in served.values():
            process.terminate()
        for process in served.values():
            assert process.wait(timeout=60) == 0


def _serve(role: str, port: int, file: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "opportune.cli", "serve", "--role", role, "--port", str(port)]
    command += ["--cluster", str(file), "--data-dir", str(folder / role)]
    return subprocess.Popen(command, env={**os.environ, **KEYS})


def _ask(port: int, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    key = KEYS["OPPORTUNE_WRITE_KEY" if body else "OPPORTUNE_SECRET_KEY"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            data = answer.read()
            return answer.status, json.loads(data) if data[:1] in b"{[" else data
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


def _until(true: Any, within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)
