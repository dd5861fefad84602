"""An open-loop load generator: requests leave when the schedule says, whatever the server does, and latency
counts from the *scheduled* moment.

A closed loop waits for the server and so hides exactly the stalls it should find (Schroeder et al., "Open
versus closed", NSDI 2006; "coordinated omission"). Runs in its own process: one thread, blocking sockets
behind one epoll, timed by ``select`` on the epoll's own descriptor (microseconds, where asyncio's timers have
whole milliseconds). About 15 us of CPU a request.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]


class Stream(msgspec.Struct):
    """Requests at ``rate`` a second for ``seconds``, taken from ``requests`` in turn.

    With ``follow``, the answer to request ``i`` is at once followed by ``follow[i]`` on the same connection;
    latency then runs to the second answer, and ``expect[i]`` not being in it counts as ``stale``.
    """

    name: str
    rate: float
    seconds: float
    requests: list[bytes]
    follow: list[bytes] = []
    expect: list[bytes] = []
    poisson: bool = True


class Plan(msgspec.Struct):
    """``connections`` are of each stream: who waits for an answer to the one does not hold up the other."""

    port: int
    streams: list[Stream]
    seed: int = 1
    connections: int = 64
    host: str = "127.0.0.1"
    grace_s: float = 5.0


class Outcome(msgspec.Struct):
    """Latencies in milliseconds from the scheduled moment; ``failed`` never got an answer with status 200."""

    name: str
    sent: int
    succeeded: int
    failed: int
    stale: int
    seconds: float
    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    statuses: dict[str, int]


def post(path: str, body: bytes, key: str) -> bytes:
    """One HTTP/1.1 request as bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def generate(plan: Plan) -> dict[str, Outcome]:
    """Run a plan in a process of its own and wait for it."""
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder, "plan"), Path(folder, "outcome")
        ask.write_bytes(pickle.dumps(plan))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.openloop", str(ask), str(answer)], check=True, cwd=ROOT
        )
        outcomes = msgspec.json.decode(answer.read_bytes(), type=list[Outcome])
    return {outcome.name: outcome for outcome in outcomes}


class _Connection:
    __slots__ = ("buffer", "followed", "job", "socket", "stream")

    def __init__(self, plan: Plan, stream: int) -> None:
        self.stream = stream
        self.socket = socket.create_connection((plan.host, plan.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.job = -1
        self.followed = False


def drive(plan: Plan) -> list[Outcome]:
    _exact_timers()
    due, owner, index = _schedule(plan)
    count = len(due)
    done = np.full(count, np.nan)
    status = np.zeros(count, np.int16)
    stale = np.zeros(count, np.bool_)
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    streams = plan.streams
    idle: list[deque[_Connection]] = [deque() for _ in streams]

    def open_one(number: int) -> None:
        connection = _Connection(plan, number)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
        idle[number].append(connection)

    for number in range(len(streams)):
        for _ in range(plan.connections):
            open_one(number)
    waiting: list[deque[int]] = [deque() for _ in streams]
    upcoming, finished = 0, 0
    clock = time.perf_counter
    start = clock() + 0.1
    deadline = start + max(stream.seconds for stream in streams) + plan.grace_s
    while finished < count:
        now = clock() - start
        if now + start > deadline:
            break
        while upcoming < count and due[upcoming] <= now:
            waiting[owner[upcoming]].append(upcoming)
            upcoming += 1
        for stream, ready, line in zip(streams, idle, waiting, strict=True):
            while line and ready:
                connection, job = ready.popleft(), line.popleft()
                connection.job, connection.followed = job, False
                try:
                    connection.socket.sendall(stream.requests[index[job] % len(stream.requests)])
                except OSError:
                    finished += 1
                    _drop(poll, connections, connection)
                    open_one(connection.stream)
        pause = due[upcoming] - (clock() - start) if upcoming < count else 0.05
        if pause > 0:
            select.select([poll], [], [], pause)
        for descriptor, _ in poll.poll(0):
            connection = connections[descriptor]
            try:
                data = connection.socket.recv(262_144)
            except OSError:
                data = b""
            if not data:
                if connection.job >= 0:
                    finished += 1
                _drop(poll, connections, connection)
                if connection in idle[connection.stream]:
                    idle[connection.stream].remove(connection)
                open_one(connection.stream)
                continue
            connection.buffer = connection.buffer + data if connection.buffer else data
            found = _complete(connection.buffer)
            if found is None:
                continue
            job = connection.job
            stream = streams[owner[job]]
            if stream.follow and not connection.followed and found == 200:
                connection.followed = True
                connection.buffer = b""
                connection.socket.sendall(stream.follow[index[job] % len(stream.follow)])
                continue
            done[job] = clock() - start
            status[job] = found
            if stream.expect:
                stale[job] = stream.expect[index[job] % len(stream.expect)] not in connection.buffer
            connection.buffer = b""
            connection.job = -1
            finished += 1
            idle[connection.stream].append(connection)
    for connection in connections.values():
        connection.socket.close()
    return [
        _outcome(
            stream,
            due[owner == number],
            done[owner == number],
            status[owner == number],
            stale[owner == number],
        )
        for number, stream in enumerate(streams)
    ]


def _drop(poll: select.epoll, connections: dict[int, _Connection], connection: _Connection) -> None:
    descriptor = connection.socket.fileno()
    poll.unregister(descriptor)
    del connections[descriptor]
    connection.socket.close()


def _complete(buffer: bytes) -> int | None:
    """The status once the whole answer is there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = buffer.find(b"content-length: ", 0, end)
    length = int(buffer[at + 16 : buffer.find(b"\r\n", at, end + 2)]) if at >= 0 else 0
    return int(buffer[9:12]) if len(buffer) >= end + 4 + length else None


def _schedule(plan: Plan) -> tuple[Any, Any, Any]:
    """When each request is due, which stream it is of, and its index there; in order of time."""
    random = np.random.default_rng(plan.seed)
    due, owner, index = [], [], []
    for number, stream in enumerate(plan.streams):
        many = max(1, round(stream.rate * stream.seconds))
        if stream.poisson:
            times = np.sort(random.uniform(0.0, stream.seconds, many))
        else:
            times = np.arange(many) / stream.rate
        due.append(times)
        owner.append(np.full(many, number))
        index.append(np.arange(many))
    times = np.concatenate(due)
    order = np.argsort(times, kind="stable")
    return times[order], np.concatenate(owner)[order], np.concatenate(index)[order]


def _outcome(stream: Stream, due: Any, done: Any, status: Any, stale: Any) -> Outcome:
    good = (status == 200) & ~np.isnan(done)
    latency = (done[good] - due[good]) * 1_000
    quantiles = np.percentile(latency, [50, 90, 99, 99.9, 100]) if len(latency) else np.full(5, np.nan)
    seconds = float(np.nanmax(done)) if len(latency) else stream.seconds
    values, counts = np.unique(status[~good], return_counts=True)
    return Outcome(
        name=stream.name,
        sent=len(due),
        succeeded=int(good.sum()),
        failed=int((~good).sum()),
        stale=int(stale[good].sum()),
        seconds=round(seconds, 3),
        rate=round(float(good.sum()) / max(seconds, 1e-9), 1),
        p50_ms=round(float(quantiles[0]), 3),
        p90_ms=round(float(quantiles[1]), 3),
        p99_ms=round(float(quantiles[2]), 3),
        p999_ms=round(float(quantiles[3]), 3),
        max_ms=round(float(quantiles[4]), 3),
        statuses={str(value): int(number) for value, number in zip(values, counts, strict=True)},
    )


def _exact_timers() -> None:
    """Linux lets timers be 50 us late to save power; not here."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK, in nanoseconds


def main() -> None:
    ask, answer = sys.argv[1:3]
    plan: Plan = pickle.loads(Path(ask).read_bytes())
    draft = Path(f"{answer}.draft")
    draft.write_bytes(msgspec.json.encode(drive(plan)))
    os.replace(draft, answer)


if __name__ == "__main__":
    main()
