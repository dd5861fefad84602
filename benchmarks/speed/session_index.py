"""The session index at size: ``python -m benchmarks.speed.session_index [--clicks N] [--items N] [--json]``.

Synthetic sessions of about six clicks around a popular centre, some thirty of them going on at once, so that
the clicks of a session are not next to each other (``--apart 0``: one session after another). Prints
microseconds of the processor per query (100 candidates, called from Python as a decision calls it) and per
click, and the memory that the index took. Processor time, the best of the repetitions, so that a busy machine
does not count; a busy neighbour on the same core still slows caches down. ``read_ns`` says what the machine
takes for one read of memory that waits for the one before, which is what an index of this size lives on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import psutil
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.kernels import kernel
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import Interactions, Query
from opportune.recommend.warm_up import warm_up

QUERIES = 3000
REPETITIONS = 3
SINGLE_UPDATES = 3000
KNOBS = {
    "light, as decisions use": SessionKnnConfig.light(),
    "m=1000 k=200, no echo": SessionKnnConfig(recent_sessions=1000, neighbours=200, echo_items=0),
    "textbook, m=1000 k=200": SessionKnnConfig.textbook(),
}


def history(clicks: int, items: int, seed: int, apart: float = 0.0) -> Interactions:
    """``apart``: how many clicks of others come between two of a session, at most."""
    rng = np.random.default_rng(seed)
    length = rng.geometric(1 / 6, clicks // 5)
    session = np.repeat(np.arange(len(length)), length)[:clicks]
    clicks = len(session)
    centre = (items * rng.beta(0.5, 3.0, len(length))).astype(np.int64)
    item = np.clip(centre[session] + rng.normal(0, 50, clicks).astype(np.int64), 0, items - 1)
    order = np.argsort(np.arange(clicks) + rng.uniform(0, max(apart, 1e-9), clicks), kind="stable")
    return Interactions(
        session=session[order].astype(np.int64),
        item=item[order].astype(np.int32),
        kind=np.zeros(clicks, np.int8),
        time=np.arange(clicks, dtype=np.int64) * 10,
    )


@kernel
def _chase(step: npt.NDArray[np.int32], reads: int) -> int:
    at = 0
    for _ in range(reads):
        at = step[at]
    return at


def read_ns(size: int = 1 << 26, reads: int = 200_000) -> float:
    """One read that waits for the one before, out of 256 MB."""
    step = np.empty(size, np.int32)
    there = np.random.default_rng(1).permutation(size).astype(np.int32)
    step[there[:-1]] = there[1:]
    step[there[-1]] = there[0]
    _chase(step, 10)
    times = []
    for _ in range(5):
        started = time.thread_time_ns()
        _chase(step, reads)
        times.append((time.thread_time_ns() - started) / reads)
    return min(times)


def run(clicks: int, items: int, seed: int, apart: float) -> dict[str, Any]:
    warm_up_s = warm_up()
    read = read_ns()
    past = history(clicks, items, seed, apart)
    before = _resident_mb()
    source = SessionKnn()
    started = time.thread_time()
    source.fit(past)
    fit_s = time.thread_time() - started
    index_mb = _resident_mb() - before
    rng = np.random.default_rng(seed)
    asked = []
    walks = history(clicks, items, seed)
    for at in rng.integers(0, len(past) - 10, QUERIES):
        session = walks.item[at : at + rng.integers(1, 9)]
        asked.append(Query(session, session.astype(np.int8), session.astype(np.float32), now=0, count=100))
    query_us = _times(source, asked)
    by_knobs = {name: _times(source.with_config(config), asked) for name, config in KNOBS.items()}
    update_us = []
    for at in range(min(SINGLE_UPDATES, len(past))):
        part = slice(at, at + 1)
        one = Interactions(past.session[part], past.item[part], past.kind[part], past.time[part])
        started = time.thread_time_ns()
        source.update(one)
        update_us.append((time.thread_time_ns() - started) / 1000)
    return {
        "clicks": len(past),
        "items": items,
        "clicks_apart": apart,
        "read_ns": round(read, 1),
        "sessions": source.sessions,
        "seed": seed,
        "query_us": query_us,
        "query_us_by_knobs": by_knobs,
        "update_one_click_us": _percentiles(update_us),
        "fit_us_per_click": round(fit_s / len(past) * 1e6, 3),
        "index_mb": round(index_mb),
        "warm_up_s": round(warm_up_s, 2),
        "machine": machine(),
    }


def _times(source: SessionKnn, asked: list[Query]) -> dict[str, float]:
    """Every query after all the others: what it reads is not in the caches. The best repetition of each."""
    source.recommend(asked[0])
    best = np.full(len(asked), np.inf)
    for _ in range(REPETITIONS):
        for at, query in enumerate(asked):
            started = time.thread_time_ns()
            source.recommend(query)
            best[at] = min(best[at], (time.thread_time_ns() - started) / 1000)
    return _percentiles(best.tolist())


def _percentiles(times: list[float]) -> dict[str, float]:
    return {
        f"p{share}": round(float(value), 1)
        for share, value in zip((50, 90, 99), np.percentile(times, (50, 90, 99)), strict=True)
    }


def _resident_mb() -> float:
    return psutil.Process().memory_info().rss / 2**20


def tables(report: dict[str, Any]) -> str:
    rows = {"shipped defaults": report["query_us"], **report["query_us_by_knobs"]}
    return "\n".join(
        [
            f"{report['clicks']:,} clicks, {report['items']:,} items, {report['sessions']:,} sessions, "
            f"seed {report['seed']}; {report['machine']['cpu']}, Python {report['machine']['python']}, numba "
            f"{report['machine']['numba']}. One read of memory that waits for the one before takes "
            f"{report['read_ns']:.0f} ns here. Bar: 500 us at the 99th percentile with m=1000, k=200; "
            "stretch 250. A click costs "
            f"{report['fit_us_per_click']:.2f} us in bulk; the index takes {report['index_mb']:,} MB.",
            "",
            "| session-kNN | p50 us | p90 us | p99 us |",
            "|---|---|---|---|",
            *(f"| {name} | {t['p50']} | {t['p90']} | {t['p99']} |" for name, t in rows.items()),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.speed.session_index", description=__doc__)
    parser.add_argument("--clicks", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apart", type=float, default=200.0, help="clicks of others within a session")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the numbers into this document")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    report = run(options.clicks, options.items, options.seed, options.apart)
    if options.write_docs:
        documents.put(options.write_docs, "session-index", tables(report))
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        for name, value in report.items():
            print(f"{name:22} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
