"""The processes that make up a local cluster: started, found again, stopped by process id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

STARTED_IN_S = 60.0
STOPPED_IN_S = 15.0


class Missing(Exception):
    """A program that a part needs is not on this machine; the message says how to get it."""


class Parts:
    """What runs, by name, in ``folder/parts.json``: ``{"pid": ..., "address": ...}``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._file = self.folder / "parts.json"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[str, tuple[Sequence[str], str, str | None]] = {}

    def running(self) -> dict[str, dict[str, Any]]:
        """The parts whose process is alive."""
        try:
            known = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return {name: part for name, part in known.items() if self._alive(part["pid"])}

    def addresses(self) -> dict[str, str]:
        return {name: part["address"] for name, part in sorted(self.running().items())}

    def start(
        self,
        name: str,
        command: Sequence[str],
        address: str,
        *,
        user: str | None = None,
    ) -> int:
        """Start a process with its own log; its process id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                user=user,
                start_new_session=True,
            )
        self._children[process.pid] = process
        self._started[name] = command, address, user
        self._remember(name, {"pid": process.pid, "address": address})
        return process.pid

    def again(self, name: str) -> int:
        """Start a part that ended as it was started by this object; its process id."""
        command, address, user = self._started[name]
        return self.start(name, command, address, user=user)

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Until ``ready`` says so.

        Raises :class:`RuntimeError` with the end of the log when the process dies or takes over a minute.
        """
        deadline = time.monotonic() + STARTED_IN_S
        while not ready():
            is_dead = name not in self.running()
            if is_dead or time.monotonic() > deadline:
                log = self.folder / f"{name}.log"
                said = log.read_text(errors="replace")[-2_000:]
                self.stop(name)
                what = "ended" if is_dead else "is not ready after a minute"
                raise RuntimeError(f"{name} {what}; the end of {log}:\n{said}")
            time.sleep(0.1)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one part and forget it; killed when it does not leave in fifteen seconds."""
        part = self.running().get(name)
        if part is None:
            return
        os.kill(part["pid"], how)
        deadline = time.monotonic() + STOPPED_IN_S
        while self._alive(part["pid"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._alive(part["pid"]):
            os.kill(part["pid"], signal.SIGKILL)
            while self._alive(part["pid"]):
                time.sleep(0.01)
        known = json.loads(self._file.read_text())
        known.pop(name, None)
        self._file.write_text(json.dumps(known))

    def down(self) -> list[str]:
        """Stop everything that runs; their names."""
        running = self.running()
        for part in running.values():
            # All at once: a broker that leaves alone waits for the others of its quorum.
            os.kill(part["pid"], signal.SIGTERM)
        for name in running:
            self.stop(name)
        return sorted(running)

    def _alive(self, pid: int) -> bool:
        child = self._children.get(pid)
        if child is not None:
            return child.poll() is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _remember(self, name: str, part: dict[str, Any]) -> None:
        known = self.running()
        known[name] = part
        self._file.write_text(json.dumps(known))


def needed(program: str, remedy: str) -> str:
    """The path of a program; raises :class:`Missing` with the remedy."""
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not on this machine: {remedy}")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as one:
        one.settimeout(0.2)
        return one.connect_ex((host, port)) == 0
