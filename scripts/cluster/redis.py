"""Redis (or Valkey) from the distribution's packages, append-only file on."""

from __future__ import annotations

import shutil

from scripts.cluster.parts import Parts, free_port, listens, needed


class Redis:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

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
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
        command += ["--appendonly", "yes", "--save", "", "--daemonize", "no"]
        url = f"redis://127.0.0.1:{port}/0"
        self._parts.start("redis", command, url)
        self._parts.wait("redis", lambda: listens(port))
        return url
