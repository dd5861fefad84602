"""The script that starts the real parts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scripts.cluster.parts import Missing, Parts, free_port, listens, needed

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_part_is_found_again_by_another_process_and_stopped(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    pid = parts.start("sleeper", SLEEP, "nowhere:1")
    again = Parts(tmp_path)
    assert again.running() == {"sleeper": {"pid": pid, "address": "nowhere:1"}}
    assert again.addresses() == {"sleeper": "nowhere:1"}
    assert parts.down() == ["sleeper"]
    assert parts.running() == {}
    assert parts.down() == []


def test_a_part_that_dies_at_the_start_is_told_with_its_log(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.start("broken", [sys.executable, "-c", "print('no such option'); raise SystemExit(3)"], "x")
    with pytest.raises(RuntimeError, match=r"(?s)broken ended; the end of .*broken.log:\nno such option"):
        parts.wait("broken", lambda: False)


def test_a_missing_program_is_told_with_its_remedy() -> None:
    with pytest.raises(Missing, match="no-such-thing is not on this machine: install it"):
        needed("no-such-thing", "install it")


def test_a_free_port_is_free() -> None:
    assert not listens(free_port())


@pytest.mark.usefixtures("servers")
def test_the_servers_answer(servers: Parts) -> None:
    for address in servers.addresses().values():
        port = address.removeprefix("redis://").partition(":")[2].partition("/")[0]
        assert listens(int(port))
