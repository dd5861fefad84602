"""Redis (or Valkey) from the distribution's packages, append-only file on."""

from __future__ import annotations

import shutil

from scripts.cluster.parts import Parts, free_port, listens, needed


class Redis:
    def __init__(self, parts: Parts, *, host: str = "127.0.0.1") -> None:
        self._parts = parts
        self._host = host

    def up(self) -> str:
        """Start it unless it runs; its URL."""
        running = self._parts.running()
        if "redis" in running:
            return str(running["redis"]["address"])
        program = shutil.which("valkey-server") or needed(
            "redis-server", "install Redis or Valkey (Debian: apt-get install redis-server)"
        )
        data = self._parts.folder / "redis"
        data.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [program, "--port", str(port), "--bind", self._host, "--dir", str(data)]
        command += ["--appendonly", "yes", "--save", "", "--daemonize", "no", "--protected-mode", "no"]
        url = f"redis://{self._host}:{port}/0"
        self._parts.start("redis", command, url)
        self._parts.wait("redis", lambda: listens(port, self._host))
        return url
