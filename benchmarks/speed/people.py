"""Identity under load: ``python -m benchmarks.speed.people [--people N] [--records N] [--json]``.

*train*: match weights from ``--records`` records of made-up people. *match*: one new record against
``--people`` people. *resolve*: the component of one event's identifiers in a graph of as many people. Times
are of the thread's processor; people, mistakes and the order of questions come from the seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.events.event import Event, Identifier
from opportune.identity.components import resolve
from opportune.identity.links import Evidence, fold_links
from opportune.identity.matching.columns import columns_of
from opportune.identity.matching.matcher import Matcher
from opportune.identity.matching.model import MatchModel
from opportune.identity.matching.records import Records
from opportune.identity.matching.training import train
from opportune.identity.rules import IdentityRules
from opportune.testing.people import COLUMNS, people

QUESTIONS = 2_000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def percentiles(run: Callable[[int], object], count: int, unit_ns: float) -> dict[str, float]:
    for i in range(min(50, count)):
        run(i)
    times = []
    for i in range(count):
        started = time.thread_time_ns()
        run(i)
        times.append((time.thread_time_ns() - started) / unit_ns)
    p50, p99, worst = np.percentile(times, (50, 99, 100))
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(float(worst), 4)}


def training(count: int, seed: int) -> tuple[dict[str, float], MatchModel]:
    rows, _ = people(int(count / 1.5), seed=seed, copies=1 / 3)
    columns = columns_of(COLUMNS, [[r[c] for c in COLUMNS] for r in rows[:2000]])
    started = time.process_time(), time.perf_counter()
    model = train(Records.of(columns, rows), seed=seed)
    used = {
        "records": len(rows),
        "cpu_s": round(time.process_time() - started[0], 1),
        "wall_s": round(time.perf_counter() - started[1], 1),
    }
    say(f"train: {used}")
    return used, model


def matching(model: MatchModel, count: int, seed: int) -> dict[str, Any]:
    rows, _ = people(count, seed=seed + 1)
    asked, _ = people(QUESTIONS, seed=seed + 2, copies=0.0)
    rng = random.Random(seed)
    known = [rng.choice(rows) for _ in range(QUESTIONS // 2)]
    questions = [*known, *asked[: QUESTIONS // 2]]
    matcher = Matcher(model, rows)
    say(f"match: {len(rows)} people indexed")
    found = percentiles(lambda i: matcher.find(questions[i]), len(questions), 1e6)
    say(f"match ms: {found}")
    return {"people": len(rows), "ms": found}


def resolving(count: int, seed: int) -> dict[str, Any]:
    """Everybody has a login, an e-mail address and one to three browsers; events name one or two of them."""
    rng = random.Random(seed)
    graph: dict[Identifier, dict[Identifier, Evidence]] = {}
    asked: list[Identifier] = []
    for person in range(count):
        user, address = f"user_id:u{person}", f"email:p{person}@example.com"
        browsers = [f"anonymous_id:b{person}-{i}" for i in range(rng.choice((1, 1, 2, 3)))]
        for time_, other in enumerate((address, *browsers)):
            event = Event("identify", "identify", f"m{person}-{time_}", "web", time_, time_, (user, other))
            for key in event.identifiers:
                fold_links(graph.setdefault(key, {}), event, key)
        if rng.random() < QUESTIONS * 2 / count:
            asked.append(rng.choice((user, address, *browsers)))
    say(f"resolve: {len(graph)} identifiers")
    rules = IdentityRules()
    nothing: dict[Identifier, Evidence] = {}
    found = percentiles(
        lambda i: resolve(asked[i], lambda key: graph.get(key, nothing), rules), len(asked), 1e6
    )
    say(f"resolve ms: {found}")
    return {"people": count, "identifiers": len(graph), "ms": found}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.people", description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-docs", type=Path, help="put the result into this document")
    chosen = parser.parse_args()
    resolved = resolving(chosen.people, chosen.seed)
    trained, model = training(chosen.records, chosen.seed)
    result = {
        "resolve": resolved,
        "train": trained,
        "match": matching(model, chosen.people, chosen.seed),
        "seed": chosen.seed,
        "machine": machine(),
    }
    text = table(result, chosen.people)
    if chosen.write_docs:
        documents.put(chosen.write_docs, "identity-speed", text)
    print(msgspec.json.encode(result).decode() if chosen.json else text)


def table(result: dict[str, Any], count: int) -> str:
    resolved, trained, match = result["resolve"]["ms"], result["train"], result["match"]["ms"]
    rows = [
        (f"resolve an identifier, {count:,} people", f"p50 {resolved['p50']}, p99 {resolved['p99']} ms"),
        (f"train on {trained['records']:,} records", f"{trained['cpu_s']} s"),
        (f"match one record against {count:,} people", f"p50 {match['p50']}, p99 {match['p99']} ms"),
    ]
    return "\n".join(["| what | processor time |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


if __name__ == "__main__":
    main()
