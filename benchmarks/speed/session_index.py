"""The session index at size: ``python -m benchmarks.speed.session_index [--clicks N] [--items N] [--json]``.

Synthetic sessions of about six clicks around a popular centre. Prints microseconds of the processor per
query (100 candidates, called from Python as a decision calls it) and per click, and the memory that the
index took. Processor time, so that a busy machine does not count; a busy neighbour on the same core still
slows caches down.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import msgspec
import numpy as np
import psutil
from benchmarks.quality.machine import machine

from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig
from opportune.recommend.source import Interactions, Query
from opportune.recommend.warm_up import warm_up

QUERIES = 3000
SINGLE_UPDATES = 3000
KNOBS = {
    "light, as decisions use": SessionKnnConfig.light(),
    "m=1000 k=200, no echo": SessionKnnConfig(recent_sessions=1000, neighbours=200, echo_items=0),
    "textbook, m=1000 k=200": SessionKnnConfig.textbook(),
}


def history(clicks: int, items: int, seed: int) -> Interactions:
    rng = np.random.default_rng(seed)
    length = rng.geometric(1 / 6, clicks // 5)
    session = np.repeat(np.arange(len(length)), length)[:clicks]
    clicks = len(session)
    centre = (items * rng.beta(0.5, 3.0, len(length))).astype(np.int64)
    item = np.clip(centre[session] + rng.normal(0, 50, clicks).astype(np.int64), 0, items - 1)
    return Interactions(
        session=session.astype(np.int64),
        item=item.astype(np.int32),
        kind=np.zeros(clicks, np.int8),
        time=np.arange(clicks, dtype=np.int64) * 10,
    )


def run(clicks: int, items: int, seed: int) -> dict[str, Any]:
    warm_up_s = warm_up()
    past = history(clicks, items, seed)
    before = _resident_mb()
    source = SessionKnn()
    started = time.thread_time()
    source.fit(past)
    fit_s = time.thread_time() - started
    rng = np.random.default_rng(seed)
    asked = []
    for at in rng.integers(0, len(past) - 10, QUERIES):
        session = past.item[at : at + rng.integers(1, 9)]
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
        "sessions": source.sessions,
        "seed": seed,
        "query_us": query_us,
        "query_us_by_knobs": by_knobs,
        "update_one_click_us": _percentiles(update_us),
        "fit_us_per_click": round(fit_s / len(past) * 1e6, 3),
        "index_mb": round(_resident_mb() - before),
        "warm_up_s": round(warm_up_s, 2),
        "machine": machine(),
    }


def _times(source: SessionKnn, asked: list[Query]) -> dict[str, float]:
    source.recommend(asked[0])
    times = []
    for query in asked:
        started = time.thread_time_ns()
        source.recommend(query)
        times.append((time.thread_time_ns() - started) / 1000)
    return _percentiles(times)


def _percentiles(times: list[float]) -> dict[str, float]:
    return {
        f"p{share}": round(float(value), 1)
        for share, value in zip((50, 90, 99), np.percentile(times, (50, 90, 99)), strict=True)
    }


def _resident_mb() -> float:
    return psutil.Process().memory_info().rss / 2**20


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.speed.session_index", description=__doc__)
    parser.add_argument("--clicks", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    report = run(options.clicks, options.items, options.seed)
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        for name, value in report.items():
            print(f"{name:22} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
