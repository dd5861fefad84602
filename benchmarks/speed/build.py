"""Fill a data folder with the synthetic shop, through the library, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from benchmarks.speed.process import ROOT
from benchmarks.speed.shop import Shop

CHUNK = 2_000


def build(folder: Path, *, items: int, sessions: int, people: int, seed: int) -> dict[str, float]:
    """Run :func:`command` in a child process; returns what it measured."""
    told = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.speed.build", str(folder),
            "--items", str(items), "--sessions", str(sessions), "--people", str(people), "--seed", str(seed),
        ],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    os.sync()  # what was built is written now, not half a minute later beside what is measured
    events, seconds = told.stdout.split()
    return {"events": float(events), "seconds": float(seconds)}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--items", default=40_000)
@click.option("--sessions", default=40_000)
@click.option("--people", default=0)
@click.option("--seed", default=1)
def command(folder: Path, items: int, sessions: int, people: int, seed: int) -> None:
    """Print how many events were stored and the seconds that took."""
    from opportune.engine.engine import Engine

    shop = Shop(items, seed)
    now = int(time.time() * 1_000)
    with Engine.open(folder) as engine:
        engine.ingest(shop.catalog(), dialect="catalog")
        started, count = time.perf_counter(), 0
        for part in _chunks(shop.history(sessions, now)):
            count += engine.ingest(part, source="default").stored
        for part in _chunks(shop.people(people, 3, now)):
            count += engine.ingest(part, source="default").stored
        seconds = time.perf_counter() - started
    print(count, round(seconds, 2))


def _chunks(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(events)
    while part := list(islice(iterator, CHUNK)):
        yield part


if __name__ == "__main__":
    command()
