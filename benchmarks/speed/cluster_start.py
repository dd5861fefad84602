"""A decider that starts, with and without a snapshot: ``python -m benchmarks.speed.cluster_start``.

Starts one broker and Redis on loopback, fills the journal, and measures how long the process takes until it
is ready, what CPU and memory that costs, and how large the snapshot is. ``--write`` puts the table into the
document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.speed.cluster import Bench, produce
from benchmarks.speed.machine import describe
from scripts.cluster.parts import free_port

from benchmarks import documents
from opportune.events.event import Event
from opportune.events.segment import normalize
from opportune.streams.artifacts import Artifact, Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.topics import Topics

DOCUMENT = Path("docs/decisions/0009-snapshots.md")
NAME = "start"


def clicks(count: int, items: int, *, seed: int = 1, first: int = 0) -> list[Event]:
    """Sessions of four looks and now and then a cart, the popular items most, over the last day."""
    rng = np.random.default_rng(seed)
    chosen = (items * rng.beta(0.6, 2.5, count)).astype(int)
    now = time.time_ns() // 1_000_000 - 24 * 3_600_000
    return [
        normalize(
            {
                "type": "track",
                "event": "Product Added" if n % 9 == 8 else "Product Viewed",
                "anonymousId": f"b{n // 4}",
                "messageId": f"m{n}",
                "properties": {
                    "product_id": f"item-{item}",
                    "name": f"Item {item} of maker {item % 211}",
                    "category": f"c{item % 40}",
                    "price": 5 + item % 90,
                },
            },
            kind=None,
            source="bench",
            received=now + (80_000_000 if first else n * 80_000_000 // count),
        )
        for n, item in enumerate(chosen.tolist(), first)
    ]


def started(bench: Bench, number: int) -> dict[str, float]:
    """A decider from the start of its process until it is ready."""
    began = time.monotonic()
    with bench.playing(NAME, "decide", port=free_port(), number=number) as process:
        seconds = time.monotonic() - began
        return {
            "ready_s": seconds,
            "cpu_s": sum(process.cpu_times()[:2]),
            "rss_mb": process.memory_info().rss / 1e6,
        }


def snapshot(bench: Bench, config: ClusterConfig, topics: Topics) -> Artifact:
    """What a learner publishes first."""
    artifacts = Artifacts(config, topics.artifacts)
    try:
        with bench.playing(NAME, "learn", port=free_port()):
            deadline = time.monotonic() + 120
            while not artifacts.of_kind("snapshot"):
                if time.monotonic() > deadline:
                    raise RuntimeError("no snapshot was published")
                time.sleep(0.2)
                artifacts.follow()
    finally:
        artifacts.close()
    return artifacts.of_kind("snapshot")[0]


def measure(bench: Bench, events: int, items: int, tail: int) -> dict[str, Any]:
    config, topics = bench.cluster(NAME)
    straight = msgspec.structs.replace(topics, events=topics.journal)
    made = clicks(events, items)
    produce(config, straight, made)
    cold = started(bench, 1)
    published = snapshot(bench, config, topics)
    produce(config, straight, clicks(tail, items, seed=2, first=events))
    warm = started(bench, 2)
    return {
        "events": events,
        "items": len({line.item_id for event in made for line in event.lines}),
        "tail": tail,
        "snapshot_mb": published.bytes / 1e6,
        "cold": cold,
        "warm": warm,
    }


def table(found: dict[str, Any], about: dict[str, Any]) -> str:
    cold, warm = found["cold"], found["warm"]
    rows = [
        ("ready after", f"{cold['ready_s']:.1f} s", f"{warm['ready_s']:.1f} s"),
        ("CPU until then", f"{cold['cpu_s']:.1f} s", f"{warm['cpu_s']:.1f} s"),
        ("memory then", f"{cold['rss_mb']:.0f} MB", f"{warm['rss_mb']:.0f} MB"),
    ]
    return "\n".join(
        [
            f"`python -m benchmarks.speed.cluster_start --write`: {about['cpu']}, {about['cores']} cores for "
            f"broker, Redis and decider together, others' load {about['load_before']} before. "
            f"{found['events']:,} events about {found['items']:,} items are in the journal, "
            f"{found['tail']:,} more came after the snapshot, which has {found['snapshot_mb']:.0f} MB.",
            "",
            "| a decider that starts | from the journal | from the snapshot |",
            "|---|---|---|",
            *(f"| {what} | {one} | {other} |" for what, one, other in rows),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--tail", type=int, default=5_000)
    parser.add_argument("--write", action="store_true", help="put the table into the document")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cluster-start-"))
    about = describe(folder)
    bench = None
    try:
        bench = Bench(folder)
        found = measure(bench, options.events, options.items, options.tail)
    finally:
        if bench is not None:
            bench.parts.down()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"about": about, **found}, indent=2))
    if options.write:
        documents.put(DOCUMENT, "start", table(found, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
