"""Figures for scale, from the same machine in the same run: an empty server, and a plain database."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.bars import ECHO_US
from benchmarks.speed.openloop import Plan, Stream, generate, post
from benchmarks.speed.process import Server

SATURATING = 20_000
"""More echoes a second than one core answers, so that none waits for the next request to wake it."""
ECHO = """
import uvicorn
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    message = await receive()
    body = message.get("body", b"")[:600]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, host="127.0.0.1", port={port}, loop="uvloop", http="httptools", access_log=False,
            log_level="error")
"""


def bare_server(folder: Path, *, rate: float, seconds: float) -> dict[str, Any]:
    """uvicorn with a raw ASGI route that echoes: what HTTP alone costs."""
    command = [sys.executable, "-c", ECHO]
    with Server(folder / "echo", command=command) as server:
        request = post("/", b'{"a":"' + b"x" * 490 + b'"}', "key")
        generate(Plan(server.port, [Stream("warm", 200, 1.0, [request])], connections=32))
        cpu = server.cpu_s()
        told = generate(Plan(server.port, [Stream("echo", rate, seconds, [request])], connections=32))["echo"]
        spent = server.cpu_s() - cpu
    return {
        "rate": told.rate,
        "p99_ms": told.p99_ms,
        "cpu_us": round(spent / max(told.succeeded, 1) * 1e6, 1),
    }


def sqlite_commits(folder: Path, *, seconds: float, group: int) -> float:
    """Rows a second into SQLite (WAL, ``synchronous=FULL``), ``group`` rows to a commit: a journal that is a
    database."""
    connection = sqlite3.connect(folder / f"baseline-{group}.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table journal (seq integer primary key, entry blob)")
    entry, rows = b"x" * 500, 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        connection.execute("begin")
        connection.executemany("insert into journal (entry) values (?)", [(entry,)] * group)
        connection.execute("commit")
        rows += group
    connection.close()
    return rows / seconds


def measure(folder: Path, *, seconds: float) -> dict[str, Any]:
    """The figures for scale; ``echo_us`` is the CPU of one bare echo when there is always a next one, the
    unit that :func:`~benchmarks.speed.bars.costs` counts in."""
    echo = bare_server(folder, rate=2_000, seconds=seconds)
    busy = bare_server(folder, rate=SATURATING, seconds=min(seconds, 1.0))
    singly, grouped = (sqlite_commits(folder, seconds=seconds, group=group) for group in (1, 100))
    return {
        ECHO_US: busy["cpu_us"],
        "bare uvicorn echoing 500 bytes at 2,000/s": f"{echo['cpu_us']} us CPU, p99 {echo['p99_ms']} ms",
        "SQLite WAL FULL, one row a commit": f"{singly:,.0f} rows/s",
        "SQLite WAL FULL, 100 rows a commit": f"{grouped:,.0f} rows/s",
    }
