"""Events a second through the library: ``engine.ingest(list)``, durable when it returns.

``python -m benchmarks.speed.library --json``
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from benchmarks.speed.machine import describe
from benchmarks.speed.shop import Shop, encode
from benchmarks.speed.stream import stream


def measure(folder: Path, *, events: int, items: int, seed: int, chunk: int = 1_000) -> dict[str, Any]:
    """Ingest an hour of a shop (see :mod:`benchmarks.speed.stream`), one half as JSON bytes and one as dicts,
    ``chunk`` to a call (one flush each)."""
    from opportune.engine.engine import Engine

    shop = Shop(items, seed)
    made = list(stream(shop, 2 * events))
    as_bytes = [encode(event) for event in made[:events]]
    as_dicts = made[events:]
    found: dict[str, Any] = {"events": events, "chunk": chunk}
    with Engine.open(folder, warm=True) as engine:
        engine.ingest(shop.catalog(), dialect="catalog")
        for name, source in (("bytes", as_bytes), ("dicts", as_dicts)):
            started, cpu = time.perf_counter(), time.process_time()
            ended = 0
            for at in range(0, events, chunk):
                receipt = engine.ingest(source[at : at + chunk])
                ended += receipt.stored + receipt.duplicate
            seconds = time.perf_counter() - started
            assert ended == events, f"{ended} of {events} stored or known"
            found[name] = {
                "per_s": round(events / seconds),
                "cpu_us_per_event": round((time.process_time() - cpu) / events * 1e6, 2),
            }
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--events", default=100_000, show_default=True)
@click.option("--items", default=40_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def command(as_json: bool, events: int, items: int, seed: int) -> None:
    """Measure ingest through the library."""
    with tempfile.TemporaryDirectory(prefix="opportune-bench-") as folder:
        found = {
            "machine": describe(Path(folder)),
            "seed": seed,
            **measure(Path(folder, "data"), events=events, items=items, seed=seed),
        }
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name in ("bytes", "dicts"):
            click.echo(
                f"{name:6} {found[name]['per_s']:>9,}/s  {found[name]['cpu_us_per_event']} us CPU an event"
            )


if __name__ == "__main__":
    command()
