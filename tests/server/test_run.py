"""The whole server as a process: one ready line, real engine, an orderly end."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from opportune.server.logs import JsonFormatter
from opportune.server.refusals import CannotListen
from opportune.server.run import _listen, address_of, quiet_collector

PROGRAM = textwrap.dedent(
    """
    import sys
    from opportune.engine.engine import Engine
    from opportune.server.auth import Keys
    from opportune.server.run import serve
    with Engine.open(sys.argv[1]) as engine:
        serve(engine, "127.0.0.1", 0, keys=Keys(write="wk", secret="sk"))
    print("closed", engine.state.accounting.total().stored, flush=True)
    """
)
KEY = {"authorization": "Bearer wk"}


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready on http://127.0.0.1:"), line
    return process, line.split()[-1]


def end(process: subprocess.Popen[str]) -> int:
    process.terminate()
    process.communicate(timeout=20)
    return process.returncode


def event(number: int) -> dict[str, object]:
    return {
        "event": "Product Viewed",
        "userId": "u1",
        "messageId": f"m{number}",
        "properties": {"product_id": "p"},
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_nothing_acknowledged_is_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, url = start(tmp_path / "data")
    with httpx.Client(base_url=url, headers=KEY) as client:
        for one in range(20):
            assert client.post("/v1/track", json=event(one)).status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == "closed 20\n"
    process, url = start(tmp_path / "data")
    told = httpx.get(f"{url}/v1/accounting", headers={"authorization": "Bearer sk"}).json()
    assert told["total"]["stored"] == 20
    assert end(process) == 0


def test_a_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    process, url = start(tmp_path / "data")
    with httpx.Client(base_url=url, headers=KEY) as client:
        for one in range(10):
            client.post("/v1/track", json=event(one))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    process, url = start(tmp_path / "data")
    told = httpx.get(f"{url}/v1/accounting", headers={"authorization": "Bearer sk"}).json()
    assert told["total"]["stored"] == 10
    with httpx.Client(base_url=url, headers=KEY) as client:
        again = client.post("/v1/batch?verdicts=true", json={"batch": [{**event(3), "type": "track"}]}).json()
    assert again["verdicts"][0]["verdict"] == "duplicate"
    assert end(process) == 0


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListen, match=f"cannot listen on 127.0.0.1 port {port} .*choose another --port"
        ):
            _listen("127.0.0.1", port)


def test_the_address_is_one_that_a_browser_can_open() -> None:
    for host, shown in (("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:")):
        listener = _listen(host, 0)
        assert address_of(listener).startswith(shown)
        listener.close()


def test_what_was_loaded_is_frozen() -> None:
    before, threshold = gc.get_freeze_count(), gc.get_threshold()
    try:
        quiet_collector()
        assert gc.get_freeze_count() > before + 1_000
        assert gc.get_threshold()[2] > 100_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


def test_json_logs_are_one_object_a_line() -> None:
    record = logging.LogRecord("opportune.server", logging.WARNING, "f", 1, "the disk is %s", ("full",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == (
        "warning",
        "opportune.server",
        "the disk is full",
    )
    assert told["time"].endswith("+00:00")
