"""The promised numbers, measured over HTTP by an open-loop load generator on the same machine.

``python -m benchmarks.speed.serving --json``; ``--quick`` for a smoke run; ``--profiles`` adds the two rows
that need a million stored profiles (minutes); ``--only single_post_p99`` for one row.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from benchmarks.speed import baselines, library
from benchmarks.speed.bars import BARS, Row, judge, markdown
from benchmarks.speed.build import build
from benchmarks.speed.machine import describe
from benchmarks.speed.openloop import Outcome, Plan, Stream, generate
from benchmarks.speed.process import Server
from benchmarks.speed.shop import Shop
from benchmarks.speed.traffic import Traffic

from benchmarks import documents


class Size(msgspec.Struct, frozen=True):
    """How much of everything: the full run is what the table promises, the quick one only shows that it
    runs."""

    items: int = 40_000
    sessions: int = 40_000
    live_people: int = 4_000
    seconds: float = 8.0
    batch_rates: tuple[int, ...] = (2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000)
    decision_rates: tuple[int, ...] = (50, 100, 250, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_000)
    library_events: int = 100_000
    many_profiles: int = 1_000_000
    few_profiles: int = 10_000
    ready_profiles: int = 100_000


QUICK = Size(
    items=2_000,
    sessions=500,
    live_people=200,
    seconds=1.0,
    batch_rates=(2_000,),
    decision_rates=(100,),
    library_events=4_000,
    many_profiles=4_000,
    few_profiles=400,
    ready_profiles=2_000,
)


class Bench:
    """The scenarios over one prepared folder. Each starts the server afresh on a copy of it."""

    def __init__(self, work: Path, size: Size, seed: int) -> None:
        self.work, self.size, self.seed = work, size, seed
        self.base = work / "base"
        self.traffic = Traffic(Shop(size.items, seed), size.live_people)
        self._copies = 0

    def prepare(self) -> dict[str, float]:
        return build(self.base, items=self.size.items, sessions=self.size.sessions, people=0, seed=self.seed)

    def server(self) -> Server:
        """A warmed server over a fresh copy of the prepared folder, with live people in it."""
        self._copies += 1
        folder = self.work / f"copy-{self._copies}"
        shutil.copytree(self.base, folder)
        os.sync()  # what was copied is written now, not half a minute later beside the measured flushes
        server = Server(folder)
        opening = self.traffic.opening()
        pace = Stream("opening", max(len(opening) / 6, 5), 6.0, opening)
        told = generate(Plan(server.port, [pace], connections=4, grace_s=60))["opening"]
        if told.failed:
            server.stop()
            raise RuntimeError(f"the opening traffic failed: {told}")
        self.load(server, Stream("warm", 100, 1.5, self.traffic.decisions(150)))
        return server

    def load(self, server: Server, *streams: Stream, connections: int = 64) -> dict[str, Outcome]:
        return generate(Plan(server.port, list(streams), seed=self.seed, connections=connections))

    # -- the rows

    def batch_events(self) -> Row:
        """The highest rate of the ladder at which every batch is acknowledged within 250 ms at the 99th
        percentile."""
        best, steps = math.nan, []
        seconds = min(self.size.seconds, 4.0)
        with self.server() as server:
            for rate in self.size.batch_rates:
                posts = self.traffic.batches(math.ceil(rate / 100 * seconds), f"b{rate}")
                cpu = server.cpu_s()
                told = self.load(server, Stream("batch", rate / 100, seconds, posts), connections=16)["batch"]
                spent = server.cpu_s() - cpu
                held = not told.failed and told.p99_ms < 250 and told.rate * 100 > 0.95 * rate
                steps.append(
                    {
                        "offered_per_s": rate,
                        "held": held,
                        "p50_ms": told.p50_ms,
                        "p99_ms": told.p99_ms,
                        "failed": told.failed,
                        "cpu_us_per_event": round(spent / max(told.succeeded * 100, 1) * 1e6, 2),
                    }
                )
                if not held:
                    break
                best = rate
        return judge("batch_events", best, steps=steps)

    def single_post_p99(self) -> Row:
        with self.server() as server:
            posts = self.traffic.singles(round(2_000 * self.size.seconds), "single")
            cpu = server.cpu_s()
            told = self.load(server, Stream("single", 2_000, self.size.seconds, posts))["single"]
            spent = server.cpu_s() - cpu
        return judge(
            "single_post_p99",
            _p99(told),
            **_shown(told),
            cpu_us=round(spent / max(told.succeeded, 1) * 1e6, 1),
        )

    def library_events(self) -> Row:
        found = library.measure(
            self.work / "library", events=self.size.library_events, items=self.size.items, seed=self.seed
        )
        return judge("library_events", float(found["bytes"]["per_s"]), **found)

    def freshness_p99(self) -> Row:
        with self.server() as server:
            events, decisions, marks = self.traffic.freshness(round(200 * self.size.seconds))
            stream = Stream("fresh", 200, self.size.seconds, events, follow=decisions, expect=marks)
            told = self.load(server, stream)["fresh"]
        stale = told.stale > 0
        return judge("freshness_p99", math.nan if stale else _p99(told), **_shown(told), stale=told.stale)

    def decisions(self) -> Row:
        """The highest rate of the ladder with p99 under 5 ms."""
        best, steps = math.nan, []
        with self.server() as server:
            for rate in self.size.decision_rates:
                posts = self.traffic.decisions(round(rate * self.size.seconds))
                cpu = server.cpu_s()
                told = self.load(server, Stream("decide", rate, self.size.seconds, posts))["decide"]
                spent = server.cpu_s() - cpu
                held = not told.failed and told.p99_ms < 5
                steps.append(
                    {
                        "offered_per_s": rate,
                        "held": held,
                        **_shown(told),
                        "cpu_ms": round(spent / max(told.succeeded, 1) * 1e3, 3),
                    }
                )
                if not held:
                    break
                best = rate
        return judge("decisions", best, steps=steps)

    def decision_cpu(self) -> Row:
        """CPU of the whole server process per decision, in windows of half a second; the median window."""
        rate = min(500, self.size.decision_rates[-1])
        with self.server() as server:
            posts = self.traffic.decisions(round(rate * self.size.seconds))
            stream = Stream("decide", rate, self.size.seconds, posts, poisson=False)
            windows: list[float] = []
            stop = threading.Event()

            def watch() -> None:
                before, then = server.cpu_s(), time.perf_counter()
                while not stop.wait(0.5):
                    now, at = server.cpu_s(), time.perf_counter()
                    windows.append((now - before) / (rate * (at - then)) * 1e3)
                    before, then = now, at

            idle_before = server.cpu_s()
            time.sleep(1.0)
            idle = server.cpu_s() - idle_before
            watcher = threading.Thread(target=watch)
            watcher.start()
            told = self.load(server, stream)["decide"]
            stop.set()
            watcher.join()
        busy = [window for window in windows if window > 0.02][1:-1] or windows
        return judge(
            "decision_cpu",
            round(statistics.median(busy) * rate / max(told.rate, 1), 3),  # answered, not asked
            rate=rate,
            windows=len(busy),
            idle_cpu_ms_per_s=round(idle * 1e3, 2),
            **_shown(told),
        )

    def mixed_decision_p99(self) -> Row:
        seconds = self.size.seconds
        with self.server() as server:
            told = self.load(
                server,
                Stream("decide", 400, seconds, self.traffic.decisions(round(400 * seconds))),
                Stream("post", 1_500, seconds, self.traffic.singles(round(1_500 * seconds), "mixed")),
            )
        return judge(
            "mixed_decision_p99",
            _p99(told["decide"]),
            decide=_shown(told["decide"]),
            post=_shown(told["post"]),
        )

    def ready(self) -> Row:
        folder = self.work / "ready"
        build(folder, items=self.size.items, sessions=1_000, people=self.size.ready_profiles, seed=self.seed)
        times = []
        for _ in range(3):
            with Server(folder) as server:
                times.append(server.ready_s)
        return judge("ready", round(statistics.median(times), 3), starts=[round(one, 3) for one in times])

    def profiles(self) -> list[Row]:
        """The same mixed load over few and over many stored people, each asked for at random."""
        p99, memory, detail = {}, {}, {}
        for count in (self.size.few_profiles, self.size.many_profiles):
            folder = self.work / f"profiles-{count}"
            built = build(folder, items=self.size.items, sessions=2_000, people=count, seed=self.seed)
            people = [f"stored-{number * 7919 % count}" for number in range(min(count, 50_000))]
            seconds = self.size.seconds
            with Server(folder) as server:
                self.load(server, Stream("warm", 100, 3.0, self.traffic.decisions(300, people[-5_000:])))
                told = self.load(
                    server,
                    Stream("decide", 300, seconds, self.traffic.decisions(round(300 * seconds), people)),
                    Stream("post", 300, seconds, self.traffic.singles(round(300 * seconds), "pr", "stored-")),
                )
                p99[count] = _p99(told["decide"])
                memory[count] = server.memory_mb()
                detail[str(count)] = {
                    "decide": _shown(told["decide"]),
                    "post": _shown(told["post"]),
                    "resident_mb": round(memory[count]),
                    "ready_s": round(server.ready_s, 3),
                    "built_per_s": round(built["events"] / max(built["seconds"], 1e-9)),
                }
            shutil.rmtree(folder)
        many, few = self.size.many_profiles, self.size.few_profiles
        return [
            judge("profiles_p99_ratio", round(p99[many] / p99[few], 3), **detail),
            judge("profiles_memory", round(memory[many] / 1_000, 3)),
        ]


def _p99(told: Outcome) -> float:
    """The 99th percentile, or nothing when an answer is missing: a refusal is not fast."""
    return math.nan if told.failed else told.p99_ms


def _shown(told: Outcome) -> dict[str, Any]:
    return {
        "per_s": told.rate,
        "p50_ms": told.p50_ms,
        "p99_ms": told.p99_ms,
        "p999_ms": told.p999_ms,
        "max_ms": told.max_ms,
        "failed": told.failed,
        "statuses": told.statuses,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--quick", is_flag=True, help="A smoke run of seconds; its numbers mean nothing.")
@click.option("--profiles", is_flag=True, help="Add the rows that store a million profiles.")
@click.option("--only", multiple=True, help="Only this row (its key); may be repeated.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--work", type=click.Path(path_type=Path), help="Where to put data; default: a temporary folder."
)
@click.option(
    "--write-docs", type=click.Path(path_type=Path, dir_okay=False), help="Update the table in a file."
)
def command(
    as_json: bool,
    quick: bool,
    profiles: bool,
    only: tuple[str, ...],
    seed: int,
    work: Path | None,
    write_docs: Path | None,
) -> None:
    """Measure the server against the promised numbers."""
    size = QUICK if quick else Size()
    known = {bar.key for bar in BARS}
    if unknown := set(only) - known:
        raise click.UsageError(f"no row {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    with tempfile.TemporaryDirectory(prefix="opportune-bench-", dir=work) as folder:
        result = measure(Path(folder), size, seed, only=set(only), profiles=profiles)
    rows, machine, scale = result["rows"], result["machine"], result["baselines"]
    table = markdown(rows, machine, scale, seed)
    if write_docs is not None:
        documents.put(write_docs, "serving", table)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({**result, "quick": quick}), indent=2).decode())
    else:
        click.echo(table)


def measure(work: Path, size: Size, seed: int, *, only: set[str], profiles: bool) -> dict[str, Any]:
    """Run the rows asked for, one after the other."""
    machine = describe(work)
    bench = Bench(work, size, seed)
    _tell("building the shop")
    built = bench.prepare()
    rows: list[Row] = []
    for bar in BARS:
        wanted = bar.key in only if only else profiles or not bar.key.startswith("profiles_")
        if not wanted or any(row.key == bar.key for row in rows):
            continue
        _tell(bar.what)
        try:
            if bar.key.startswith("profiles_"):
                rows += bench.profiles()
            else:
                rows.append(getattr(bench, bar.key)())
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            _tell(f"failed: {error}")
            rows.append(judge(bar.key, math.nan, error=str(error)))
    scale: dict[str, str] = {}
    if not only:
        _tell("baselines")
        scale = baselines.measure(work, seconds=min(3.0, size.seconds))
    return {"machine": machine, "seed": seed, "built": built, "rows": rows, "baselines": scale}


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    command()
