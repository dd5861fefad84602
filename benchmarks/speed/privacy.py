"""How long it takes to erase one person out of many, with the search of every file, and what is found after.

python -m benchmarks.speed.privacy --people 100000
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.machine import describe

from benchmarks import documents
from opportune import Engine


def fill(engine: Engine, people: int, events: int) -> None:
    """Views of 1,000 items, each person under a login and a browser."""
    engine.ingest([{"item_id": f"p{n}", "name": f"Product {n}"} for n in range(1_000)], dialect="catalog")
    draw = random.Random(7)
    batch: list[dict[str, Any]] = []
    for number in range(people * events):
        person = number // events
        batch.append(
            {
                "type": "track",
                "event": "Product Viewed",
                "userId": f"customer-{person:08d}",
                "anonymousId": f"browser-{person:08d}",
                "messageId": f"m{number}",
                "properties": {"product_id": f"p{draw.randrange(1_000)}"},
            }
        )
        if len(batch) == 4_096:
            engine.ingest(batch)
            batch = []
    if batch:
        engine.ingest(batch)


def measure(people: int, events: int) -> dict[str, Any]:
    """Erase one person and look for their bytes with an own eye. Seconds, wall and processor."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with Engine.open(data) as engine:
            fill(engine, people, events)
            engine.checkpoint()
            wall, cpu = time.perf_counter(), time.process_time()
            erasing = engine.erasing([f"user_id:customer-{people // 2:08d}"])
            erasing.begin()
            begun = time.perf_counter() - wall
            receipt = erasing.finish()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        names = (b"customer-%08d" % (people // 2), b"browser-%08d" % (people // 2))
        left = sum(
            path.read_bytes().count(name) for path in data.rglob("*") if path.is_file() for name in names
        )
        assert receipt.scan is not None
        return {
            "people": people,
            "events": people * events,
            "seconds": round(wall, 2),
            "cpu_seconds": round(cpu, 2),
            "until_forgotten_seconds": round(begun, 2),
            "search_seconds": receipt.scan.seconds,
            "bytes_searched": receipt.scan.bytes,
            "state": receipt.state,
            "found_afterwards": left,
        }


def markdown(found: dict[str, Any], about: dict[str, Any]) -> str:
    return f"""| people | events | until forgotten | whole | of it CPU | search | bytes | found afterwards |
|---|---|---|---|---|---|---|---|
| {found["people"]:,} | {found["events"]:,} | {found["until_forgotten_seconds"] * 1e3:,.0f} ms \
| {found["seconds"]:,.1f} s | {found["cpu_seconds"]:,.1f} s | {found["search_seconds"]:,.1f} s \
| {found["bytes_searched"]:,} | {found["found_afterwards"]:,} |

{about["cpu"]}, {about["cores"]} cores shared with other work (load {about["load_before"]} before), \
{about["file_system"]}, Python {about["python"]}."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=3, help="events of each person")
    parser.add_argument("--write-docs", type=Path, help="put the result into this document")
    given = parser.parse_args()
    about = describe(Path(tempfile.gettempdir()))
    found = measure(given.people, given.events)
    if given.write_docs:
        documents.put(given.write_docs, "erasure", markdown(found, about))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
