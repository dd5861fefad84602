"""How long a post waits while retention or an erasure runs beside it, and how long the loop stands still.

python -m benchmarks.speed.waits --entries 100000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.speed.machine import describe

from benchmarks import documents
from opportune import Engine
from opportune.clock import DAY, system_clock
from opportune.server.privacy import carried_out
from opportune.server.retention import drive
from opportune.server.run import SWITCH_INTERVAL_S
from opportune.server.writer import GroupWriter
from opportune.warehouse.reports import Reports

EVERY_S = 0.005
RULES = "retention: {events: {product_viewed: 90d}}\n"


def fill(engine: Engine, entries: int) -> None:
    """Half of the events is a year old; ten events a person, some of whom have old ones only."""
    engine.ingest([{"item_id": f"p{n}", "name": f"Product {n}"} for n in range(1_000)], dialect="catalog")
    now = system_clock()
    people = entries // 10
    for start in range(0, entries, 4_096):
        engine.ingest(
            [
                {
                    "type": "track",
                    "event": "Product Viewed",
                    "userId": f"customer-{n % people:08d}",
                    "anonymousId": f"browser-{n % people:08d}",
                    "messageId": f"m{n}",
                    "timestamp": now - (365 * DAY if (n // people) % 2 or n % people % 4 == 0 else 0),
                    "properties": {"product_id": f"p{n % 1_000}"},
                }
                for n in range(start, min(entries, start + 4_096))
            ]
        )


class Watch:
    """Posts an event every few milliseconds; how long each waited, and the longest time that the loop's
    thread worked (by its own processor clock) between two looks at it."""

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer
        self.waits: list[float] = []
        self.longest_turn = 0.0
        self.longest_flush = 0.0
        self._flush = writer.engine.flush
        writer.engine.flush = self._timed_flush  # type: ignore[method-assign]  # looked at, not changed
        self._n = 0
        self._asleep = False

    def _timed_flush(self) -> None:
        started = time.perf_counter()
        self._flush()
        self.longest_flush = max(self.longest_flush, time.perf_counter() - started)

    async def post_while(self, work: Awaitable[Any]) -> float:
        started = time.perf_counter()
        task = asyncio.ensure_future(work)
        ticking = asyncio.ensure_future(self._tick(task, time.thread_time()))
        while not task.done():
            self._n += 1
            event = {
                "type": "track",
                "event": "Product Viewed",
                "userId": f"new-{self._n % 50}",
                "messageId": f"during-{id(self)}-{self._n}",
                "properties": {"product_id": "p1"},
            }
            sent = time.perf_counter()
            await self._writer.ingest(
                [msgspec.json.encode(event)], kind=None, dialect="segment", source="bench",
                received=system_clock(),
            )  # fmt: skip
            self.waits.append(time.perf_counter() - sent)
            await asyncio.sleep(EVERY_S)
        await ticking
        await task
        return time.perf_counter() - started

    async def _tick(self, task: asyncio.Future[Any], before: float) -> None:
        while not task.done():
            await asyncio.sleep(0.001)
            now = time.thread_time()
            self.longest_turn = max(self.longest_turn, now - before)
            before = now

    def told(self) -> dict[str, Any]:
        waits = sorted(self.waits)
        return {
            "posts": len(waits),
            "wait_p50_ms": round(waits[len(waits) // 2] * 1e3, 2),
            "wait_p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 2),
            "wait_max_ms": round(waits[-1] * 1e3, 2),
            "longest_flush_ms": round(self.longest_flush * 1e3, 2),
            "longest_turn_cpu_ms": round(self.longest_turn * 1e3, 2),
        }


async def watched(engine: Engine, work: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    writer = GroupWriter(engine)
    await writer.start()
    watch = Watch(writer)
    seconds = await watch.post_while(work())
    await writer.stop()
    return {"seconds": round(seconds, 2), **watch.told()}


def measure(entries: int) -> dict[str, Any]:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "privacy.yaml").write_text(RULES, encoding="utf-8")
        data = Path(folder) / "data"
        with Engine.open(data, workspace=folder) as engine:
            fill(engine, entries)
            engine.checkpoint()
            reports = Reports.of(engine, data)
            reports.catch_up()

            async def idle() -> None:
                await asyncio.sleep(5)

            async def erased() -> None:
                erasing = engine.erasing(["user_id:customer-00000003"])
                erasing.begin()
                await carried_out(erasing)

            async def retired() -> None:
                await drive(engine.retention, engine.retention.begin())

            found = {
                "entries": entries,
                "beside nothing": asyncio.run(watched(engine, idle)),
                "beside an erasure": asyncio.run(watched(engine, erased)),
                "beside retention": asyncio.run(watched(engine, retired)),
            }
            kept = engine.retention.state()
            found["retired"] = kept["report"]["events"] if kept["report"] else kept["error"]
            reports.close()
    return found


def markdown(found: dict[str, Any], about: dict[str, Any]) -> str:
    lines = [
        "| a post every 5 ms | p50 | p99 | longest wait | longest flush | longest turn of the loop, CPU |",
        "|---|---|---|---|---|---|",
    ]
    for name in (name for name in found if name.startswith("beside")):
        told = found[name]
        waits = " | ".join(f"{told[f'wait_{of}_ms']:,.0f} ms" for of in ("p50", "p99", "max"))
        waits += f" | {told['longest_flush_ms']:,.0f} ms"
        lines.append(f"| {name} | {waits} | {told['longest_turn_cpu_ms']:,.0f} ms |")
    lines.append("")
    lines.append(
        f"{found['entries']:,} entries in the journal, {sum(found['retired'].values()):,} of them past their "
        f"time; {about['cpu']}, {about['cores']} cores shared with other work (load {about['load_before']} "
        f"before), {about['file_system']}, Python {about['python']}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--write-docs", type=Path, help="put the result into this document")
    given = parser.parse_args()
    about = describe(Path(tempfile.gettempdir()))
    found = measure(given.entries)
    if given.write_docs:
        documents.put(given.write_docs, "waits", markdown(found, about))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
