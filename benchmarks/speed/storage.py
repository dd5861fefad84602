"""The durable core by itself: journal against SQLite, checkpointed records, cache, de-duplication.

``python -m benchmarks.speed.storage [--json] [--records 1000000]``

Microseconds are CPU time of the calling thread (other load on the machine distorts wall time); records per
second are wall time, because a flush is mostly waiting.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec
import psutil
from benchmarks.speed.machine import describe

from opportune.clock import DAY
from opportune.events.dedupe import Dedupe
from opportune.stores.cache import RecordCache
from opportune.stores.disk import RealDisk
from opportune.stores.journal import Journal
from opportune.stores.records import RecordStore

RECORD = bytes(range(250))


def cpu_us(work: Callable[[], object], times: int) -> float:
    """CPU microseconds of this thread for one of ``times``."""
    started = time.thread_time()
    work()
    return round((time.thread_time() - started) / times * 1e6, 3)


def groups(commit: Callable[[int], object], size: int, seconds: float) -> dict[str, float]:
    """Commit groups of ``size`` for so long: records a second, and how long a commit takes."""
    waits = []
    cpu, started = time.process_time(), time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        commit(size)
        waits.append(time.perf_counter() - before)
    took, spent = time.perf_counter() - started, time.process_time() - cpu
    waits.sort()
    return {
        "records_per_s": round(len(waits) * size / took),
        "commit_p50_ms": round(waits[len(waits) // 2] * 1e3, 3),
        "commit_p99_ms": round(waits[len(waits) * 99 // 100] * 1e3, 3),
        "cpu_us_per_record": round(spent / len(waits) / size * 1e6, 3),
    }


def journal(folder: Path, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with RealDisk(folder / "journal") as disk:
        opened = Journal.open(disk)

        def commit(size: int) -> None:
            opened.append([RECORD] * size)
            opened.flush()

        for size in (1, 32, 256):
            found[f"groups of {size}"] = groups(commit, size, seconds)
        batch = [RECORD] * 100
        found["append_us_per_record"] = cpu_us(lambda: [opened.append(batch) for _ in range(500)], 50_000)
        opened.flush()
        random = Random(1)
        places = [random.randrange(1, opened.durable_seq) for _ in range(2_000)]
        found["read_us"] = cpu_us(lambda: [opened.read(seq) for seq in places], len(places))
        count = opened.durable_seq - 1
        found["scan_us_per_record"] = cpu_us(lambda: sum(1 for _ in opened.scan()), count)
        opened.close()
        found["open_us"] = cpu_us(lambda: Journal.open(disk), 1)
    return found


def sqlite(folder: Path, seconds: float) -> dict[str, Any]:
    connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table journal (seq integer primary key, record blob)")

    def commit(size: int) -> None:
        connection.execute("begin")
        connection.executemany("insert into journal (record) values (?)", [(RECORD,)] * size)
        connection.execute("commit")

    found = {f"groups of {size}": groups(commit, size, seconds) for size in (1, 32, 256)}
    connection.close()
    return found


class Profile(msgspec.Struct, array_like=True):
    """About 1 kB, like a leaf with a month of activity."""

    offset: int = 0
    counts: list[int] = []
    recent: list[str] = []


class ProfileCodec:
    def encode(self, record: Any) -> bytes:
        return msgspec.msgpack.encode(record)

    def decode(self, data: bytes) -> Profile:
        return msgspec.msgpack.decode(data, type=Profile)

    def zero(self) -> Profile:
        return Profile(0, [0] * 100, [f"item-{i:06d}" for i in range(60)])


def records(folder: Path, count: int) -> dict[str, Any]:
    """Fill through checkpoints of 50,000, as in life; then read, hit, checkpoint, open again."""
    found: dict[str, Any] = {}
    codec = ProfileCodec()
    process = psutil.Process()
    with RealDisk(folder / "records") as disk:
        store = RecordStore.open(disk)
        found["rss_mb_empty"] = round(process.memory_info().rss / 1e6)
        cache = RecordCache(store, lambda key: codec, capacity=10_000)
        steps: list[float] = []
        done: list[float] = []
        writing, merging = [], []
        for base in range(0, count, 50_000):
            for i in range(base, min(count, base + 50_000)):
                cache.touch(f"leaf:user_id:{i}").offset = i
            checkpoint = cache.checkpoint(base + 50_000, {})
            more = True
            while more:
                started = time.thread_time()
                more = not checkpoint.step(0.0003)
                steps.append(time.thread_time() - started)
            started = time.perf_counter()
            checkpoint.finish()
            writing.append(time.perf_counter() - started)
            started = time.thread_time()
            checkpoint.done()
            done.append(time.thread_time() - started)
            started = time.perf_counter()
            while store.needs_compaction():
                store.compact()
            merging.append(time.perf_counter() - started)
        steps.sort()
        found["checkpoint_encode_us_per_record"] = round(sum(steps) / count * 1e6, 2)
        found["checkpoint_step_ms_p99_max"] = [
            round(steps[len(steps) * 99 // 100] * 1e3, 3),
            round(steps[-1] * 1e3, 3),
        ]
        found["checkpoint_done_us_max"] = round(max(done) * 1e6, 1)
        found["checkpoint_write_s_max"] = round(max(writing), 3)
        found["merge_s_max"] = round(max(merging), 2)
        found["runs"] = store.run_count
        found["rss_mb_full"] = round(process.memory_info().rss / 1e6)
        found["cached_records"] = cache.cached_count
        random = Random(2)
        keys = [f"leaf:user_id:{random.randrange(count)}" for _ in range(20_000)]
        raw = [key.encode() for key in keys]
        absent = [b"leaf:anonymous_id:%d" % i for i in range(20_000)]
        found["store_get_us"] = cpu_us(lambda: [store.get(key) for key in raw], len(raw))
        found["store_get_absent_us"] = cpu_us(lambda: [store.get(key) for key in absent], len(absent))
        hot = keys[:2_000]
        for key in hot:
            cache.get(key)
        found["cache_hit_us"] = cpu_us(
            lambda: [cache.get(key) for _ in range(10) for key in hot], 10 * len(hot)
        )
        found["cache_touch_us"] = cpu_us(lambda: [cache.touch(key) for key in hot], len(hot))
        found["cache_miss_us"] = cpu_us(lambda: [cache.get(key) for key in keys[2_000:]], len(keys) - 2_000)
        found["open_ms"] = round(cpu_us(lambda: RecordStore.open(disk), 1) / 1e3, 1)
        found["bytes_on_disk"] = sum(disk.size(run.name) for run in store.manifest.runs)
    return found


def dedupe(folder: Path) -> dict[str, Any]:
    """Eight days of 100,000 messages."""
    found: dict[str, Any] = {}
    with RealDisk(folder / "dedupe") as disk:
        store = RecordStore.open(disk)
        marks = Dedupe(store)
        for day in range(8):
            names = [f"{day}-7c1f4a52-9e0b-4b6e-8f1d-{i:012d}" for i in range(100_000)]
            received = (20_000 + day) * DAY
            found["seen_new_us"] = cpu_us(
                lambda names=names: [marks.seen("web", name) for name in names], len(names)
            )
            found["admit_us"] = cpu_us(
                lambda names=names, received=received: [marks.admit("web", name, received) for name in names],
                len(names),
            )
            found["seen_recent_us"] = cpu_us(
                lambda names=names: [marks.seen("web", name) for name in names], len(names)
            )
            seal, writer = marks.begin(), store.begin()
            seal.write(writer)
            writer.commit(1, {})
            started = time.thread_time()
            seal.done()
            found["seal_done_us"] = round((time.thread_time() - started) * 1e6)
        old = [f"{i % 7}-7c1f4a52-9e0b-4b6e-8f1d-{13 * i:012d}" for i in range(5_000)]
        found["seen_sealed_us"] = cpu_us(lambda: [marks.seen("web", name) for name in old], len(old))
        pairs = [("app", name) for name in old]
        found["seen_many_new_us"] = cpu_us(lambda: marks.seen_many(pairs), len(pairs))
        found["checks_per_s"] = round(1e6 / found["seen_many_new_us"])
        found["open_ms"] = round(cpu_us(lambda: Dedupe(store), 1) / 1e3, 1)
    return found


def _seen(marks: Dedupe, names: list[str]) -> None:
    for name in names:
        marks.seen("web", name)


def _admit(marks: Dedupe, names: list[str], received: int) -> None:
    for name in names:
        marks.admit("web", name, received)


@click.command(help=__doc__)
@click.option("--json", "as_json", is_flag=True)
@click.option("--records", "count", default=1_000_000, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each group size.")
def main(as_json: bool, count: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="opportune-bench-") as name:
        folder = Path(name)
        result = {
            "machine": describe(folder),
            "journal": journal(folder, seconds),
            "sqlite_wal_full": sqlite(folder, seconds),
            "records": {"count": count, **records(folder, count)},
            "dedupe": dedupe(folder),
        }
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())


if __name__ == "__main__":
    main()
