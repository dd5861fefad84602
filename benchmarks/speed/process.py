"""The server as a process of its own: started, asked, measured through /proc, stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

WRITE_KEY = "wk_bench"
SECRET_KEY = "sk_bench"
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """``opportune serve`` over a data folder. ``ready_s`` is the time from starting the process until
    ``/ready`` answered 200."""

    def __init__(self, folder: Path, *, timeout_s: float = 120.0, command: list[str] | None = None) -> None:
        self.port = free_port()
        arguments = command or [
            sys.executable, "-c", "from opportune.cli import main; main()", "serve",
            "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        arguments = [part.replace("{port}", str(self.port)) for part in arguments]
        # An installed package has its bytecode; where none may be written, each start would compile it.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, "OPPORTUNE_WRITE_KEY": WRITE_KEY, "OPPORTUNE_SECRET_KEY": SECRET_KEY}
        self.log = Path(f"{folder}.log")
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, cwd=ROOT)
        self.pid = self._process.pid
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - started > timeout_s:
                self._process.kill()
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-2_000:]}")
            time.sleep(0.003)
        self.ready_s = time.perf_counter() - started

    def _answers(self) -> bool:
        try:
            return self.get("/ready", timeout=5.0)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str, timeout: float = 30.0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {SECRET_KEY}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """CPU seconds of all threads so far, in nanosecond steps."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory_mb(self, field: str = "VmRSS") -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
