"""What sealing the checkpoint's files costs: cold reads of a record, and reading and writing in bulk.

python -m benchmarks.speed.sealing --write-docs docs/decisions/0007-no-names-at-rest.md
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.machine import describe

from benchmarks import documents
from opportune.stores.disk import Disk, RealDisk
from opportune.stores.sealed_files import SealedFiles

MB = 1 << 20
RECORD_BYTES = 900
TURNS = 5


def cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def bulk(disk: Disk, name: str, data: bytes) -> tuple[float, float]:
    """CPU milliseconds a MB: writing, reading."""

    def write() -> None:
        appender = disk.open_append(name)
        appender.append(data)
        appender.flush()
        appender.close()

    wrote = cpu_s(write)
    reader = disk.open_read(name)
    size = len(data) / MB
    return wrote / size * 1e3, cpu_s(lambda: reader.read(0, len(data))) / size * 1e3


def measure(megabytes: int, reads: int) -> dict[str, Any]:
    """Medians of several turns, the two kinds turn by turn; CPU time."""
    draw = random.Random(1)
    data = draw.randbytes(megabytes * MB)
    places = [draw.randrange(len(data) - RECORD_BYTES) for _ in range(reads)]
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in ("clear", "sealed")}
    with tempfile.TemporaryDirectory() as folder, RealDisk(folder) as disk:
        disk.make_dir("state")
        kinds: dict[str, Disk] = {"clear": disk, "sealed": SealedFiles(disk, "state", bytes(32))}
        for turn in range(TURNS):
            for kind, one in kinds.items():
                name = f"state/run-{kind}-{turn}"
                wrote, read = bulk(one, name, data)
                reader = one.open_read(name)

                def cold(reader: Any = reader) -> None:
                    for place in places:
                        reader.read(place, RECORD_BYTES)

                told = {"record_us": cpu_s(cold) / reads * 1e6, "write_ms": wrote, "read_ms": read}
                for what, value in told.items():
                    found[kind].setdefault(what, []).append(value)
                one.remove(name)
    return {
        kind: {what: round(statistics.median(values), 2) for what, values in told.items()}
        for kind, told in found.items()
    }


def markdown(found: dict[str, Any], about: dict[str, Any]) -> str:
    lines = [
        "| CPU | a record of 900 bytes | reading 1 MB | writing 1 MB |",
        "|---|---|---|---|",
        *[
            f"| {kind} | {told['record_us']} us | {told['read_ms']} ms | {told['write_ms']} ms |"
            for kind, told in found.items()
        ],
        "",
        f"{about['cpu']}, shared with other work (load {about['load_before']} before), "
        f"{about['file_system']}, Python {about['python']}; medians of {TURNS} turns.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--write-docs", type=Path, help="put the result into this document")
    given = parser.parse_args()
    about = describe(Path(tempfile.gettempdir()))
    found = measure(given.megabytes, given.reads)
    if given.write_docs:
        documents.put(given.write_docs, "sealing", markdown(found, about))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
