"""PostgreSQL from the distribution's packages; it refuses to run as root, so root lends it to
``postgres``. The user is ``opportune``, the password :data:`PASSWORD`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from scripts.cluster.parts import Missing, Parts, free_port, listens

PASSWORD = "only-on-loopback"


class Postgres:
    def __init__(self, parts: Parts, *, host: str = "127.0.0.1") -> None:
        self._parts = parts
        self._host = host

    def up(self) -> str:
        """Start it unless it runs; its URL."""
        running = self._parts.running()
        if "postgres" in running:
            return str(running["postgres"]["address"])
        programs = _programs()
        data = self._parts.folder / "postgres"
        user = "postgres" if os.geteuid() == 0 else None
        if not (data / "PG_VERSION").exists():
            data.mkdir(parents=True, exist_ok=True)
            if user:
                shutil.chown(data, user)
                _reachable(data)
            secret = self._parts.folder / "postgres.password"
            secret.write_text(PASSWORD)
            subprocess.run(
                [
                    *(str(programs / "initdb"), "-D", str(data), "-U", "opportune", "-E", "UTF8"),
                    *("-A", "scram-sha-256", "--pwfile", str(secret)),
                ],
                check=True,
                capture_output=True,
                user=user,
            )
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        port = free_port()
        url = f"postgresql://opportune@{self._host}:{port}/postgres"
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", self._host, "-k", ""]
        self._parts.start("postgres", command, url, user=user)
        self._parts.wait("postgres", lambda: listens(port, self._host))
        return url


def _programs() -> Path:
    """Where initdb is: Debian keeps it off the path, by version."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found is None and not folders:
        raise Missing(
            "initdb is not on this machine: install PostgreSQL (Debian: apt-get install postgresql)"
        )
    return Path(found).parent if found else folders[-1].parent


def _reachable(data: Path) -> None:
    for folder in (data, *data.parents):
        if not os.stat(folder).st_mode & 0o001 and folder != data:
            raise Missing(
                f"PostgreSQL runs as another user and cannot enter {folder}: choose another --folder"
            )
