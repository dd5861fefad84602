"""Next-item quality on Serenade's protocol: ``python -m benchmarks.quality.serenade FOLDER [--json]``.

``FOLDER`` has ``train.parquet`` and ``test.parquet`` with ``SessionId, ItemId, Time`` (seconds), as has the
example of bolcom/serenade (Kersbergen, Sprangers & Schelter, SIGMOD 2022). Scenario ``serenade/next-item``.

Protocol: the index holds the train sessions only; every prefix of every test session asks for the next item
(931 evaluations on the published files), which is looked for among the first 20; nothing is excluded from the
list but what the method itself leaves out. Knobs are chosen on the last tenth of the train sessions; test is
asked once. Intervals by bootstrap over sessions.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality import session_baselines as baselines
from benchmarks.quality import tables
from benchmarks.quality.machine import machine
from benchmarks.quality.session_data import Cases, Sessions, cases
from benchmarks.quality.session_ranks import Ranks, knn_ranks
from benchmarks.quality.session_tuning import GRID, search, sized
from benchmarks.quality.sessions import measures

from benchmarks import documents
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig

PUBLISHED = {"mrr20": 32.77, "mrr20_tuned": 34.01, "hr20": 64.02}
"""Serenade's own figures for these files, in per cent (m=1502, k=288, at most 4 items, idf weight 1)."""
BARS = {"mrr20": {"bar": 34.5, "stretch": 36.0}}
SHARE = 0.1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load(folder: Path) -> tuple[Sessions, Sessions, int]:
    """Train and test sessions, each in order of their last click, and the number of items. Raises
    :class:`FileNotFoundError` and :class:`ValueError` saying what is missing."""
    number: dict[int, int] = {}
    parts = []
    for name in ("train", "test"):
        path = folder / f"{name}.parquet"
        table = tables.read(path)
        session, item, time = (tables.need(table, c, path) for c in ("SessionId", "ItemId", "Time"))
        _, inverse = np.unique(session, return_inverse=True)
        last = np.full(inverse.max(initial=0) + 1, -np.inf)
        np.maximum.at(last, inverse, time)
        newest = last[inverse]
        order = np.lexsort((np.arange(len(time)), time, session, newest))
        dense = np.array([number.setdefault(int(i), len(number)) for i in item[order]], np.int32)
        edges = np.flatnonzero(np.diff(session[order])) + 1
        parts.append(Sessions(dense, np.concatenate(([0], edges, [len(dense)])).astype(np.int64)))
    return parts[0], parts[1], len(number)


def run(train: Sessions, test: Sessions, items: int, *, evaluations: int, seed: int) -> dict[str, Any]:
    asked = cases(test)
    say(f"{len(train)} train, {len(test)} test sessions, {len(asked)} evaluations, {items} items")
    cut = int(len(train) * (1 - SHARE))
    tuned = search(
        train.slice(0, cut),
        cases(train.slice(cut, len(train))),
        items,
        evaluations=evaluations,
        seed=seed,
        report=say,
    )

    def knn(config: SessionKnnConfig) -> Ranks:
        source = SessionKnn(sized(config, len(train.item), items))
        source.fit(train.interactions())
        return knn_ranks(source, asked)

    theirs = msgspec.structs.replace(
        SessionKnnConfig.textbook(), recent_sessions=1502, neighbours=288, last_items=4, seen_last=0.0
    )
    found: dict[str, Ranks] = {
        "popular": baselines.popularity(train, items, asked),
        "items already in the session": baselines.session_popularity(asked),
        "Markov chain": baselines.markov(train, items, asked),
        "item-kNN": baselines.item_knn(train, items, asked),
        "VMIS-kNN with Serenade's knobs": knn(theirs),
        "session-kNN, shipped defaults": knn(SessionKnnConfig()),
        "session-kNN, tuned on train": knn(tuned.config),
    }
    return {
        "scenario": "serenade/next-item",
        "evaluations": len(asked),
        "test_sessions": len(test),
        "items": items,
        "seed": seed,
        "published": PUBLISHED,
        "bars": BARS,
        "results": {name: result(ranks, asked, seed) for name, ranks in found.items()},
        "tuning": {
            "evaluations": tuned.evaluations,
            "knobs": {knob: getattr(tuned.config, knob) for knob in GRID},
        },
        "machine": machine(),
    }


def result(ranks: Ranks, asked: Cases, seed: int) -> dict[str, Any]:
    gain = np.where(ranks > 0, 1.0 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)
    return {**measures(ranks, asked, seed), "ndcg20": round(100 * float(gain.mean()), 2)}


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['evaluations']} evaluations of {report['test_sessions']} test sessions, "
        f"{report['items']:,} items, seed {report['seed']}; intervals by bootstrap over sessions. Published "
        "for these files: MRR@20 32.8 (tuned 34.0), HR@20 64.0, NDCG@20 35.5.",
        "",
        "| | MRR@20 | 95 % | HR@20 | 95 % | NDCG@20 |",
        "|---|---|---|---|---|---|",
    ]
    for name, r in report["results"].items():
        m, h = r["mrr20_interval"], r["hr20_interval"]
        lines.append(
            f"| {name} | {r['mrr20']:.1f} | {m[0]:.1f}-{m[1]:.1f} | {r['hr20']:.1f} | {h[0]:.1f}-{h[1]:.1f} "
            f"| {r['ndcg20']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.serenade", description=__doc__)
    parser.add_argument("folder", type=Path, help="has train.parquet, test.parquet: SessionId, ItemId, Time")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=150, help="configurations tried at most")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        train, test, items = load(options.folder)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    report = run(train, test, items, evaluations=options.evaluations, seed=options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-serenade", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
