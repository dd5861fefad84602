"""What a candidate source alone answers to the cases, and what an answer costs."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from benchmarks.quality.session_ranks import DEPTH, Ranks

from opportune.learn.candidate_rows import Cases
from opportune.recommend.source import CandidateSource

TIMED = 3000
CANDIDATES = 100


class Alone(NamedTuple):
    ranks: Ranks
    query_us: dict[str, float]


def alone(source: CandidateSource, cases: Cases, seed: int) -> Alone:
    """Every case through ``recommend``; items of the session may come back."""
    ranks = np.zeros(len(cases), np.int32)
    for case in range(len(cases)):
        found = source.recommend(cases.query(case, DEPTH)).item
        place = np.flatnonzero(found[:DEPTH] == cases.touches.item[cases.at[case]])
        ranks[case] = place[0] + 1 if len(place) else 0
    return Alone(ranks, query_us(source, cases, seed))


def query_us(source: CandidateSource, cases: Cases, seed: int) -> dict[str, float]:
    """Processor microseconds of ``recommend`` with 100 candidates as a decision calls it, from Python."""
    times = []
    for case in np.random.default_rng(seed).choice(len(cases), min(TIMED, len(cases)), replace=False):
        query = cases.query(int(case), CANDIDATES)
        started = time.thread_time_ns()
        source.recommend(query)
        times.append((time.thread_time_ns() - started) / 1000)
    return percentiles(times)


def percentiles(times: list[float]) -> dict[str, Any]:
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    return {"p50": round(float(p50), 1), "p90": round(float(p90), 1), "p99": round(float(p99), 1)}
