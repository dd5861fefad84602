"""How well people are recognised without labels: ``python -m benchmarks.quality.identity FILE.csv --truth
COLUMN [--columns FILE.yaml] [--json]``.

Match weights are trained on the file without looking at the truth column. Reported against it, over a range
of thresholds: pairs compared and accepted (*pairs*) and pairs within one group (*people*, what is used).
Every pair of one true person counts, also those never compared. Then the records come one at a time to a
model trained on the whole file, and to one trained on its first half. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import yaml
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.identity.matching.candidates import candidate_pairs
from opportune.identity.matching.clusters import agglomerate
from opportune.identity.matching.columns import columns_of
from opportune.identity.matching.matcher import LivePeople, Matcher
from opportune.identity.matching.model import MatchModel, weights
from opportune.identity.matching.records import Records
from opportune.identity.matching.training import train
from opportune.importing.csv_rows import delimiter_of

Ints = npt.NDArray[np.int64]

THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
DEFAULT = 0.5
COPY_SUFFIX = re.compile(r"^(.+?)-(?:org|dup-\d+)$")
"""How FEBRL names a record and its copies: ``rec-12-org``, ``rec-12-dup-0``."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file, in UTF-8 or else Windows-1252, with any common delimiter; spaces
    around names and values do not count."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    lines = csv.reader(
        io.StringIO(text, newline=""), skipinitialspace=True, delimiter=delimiter_of(text.split("\n", 1)[0])
    )
    header = [name.strip() for name in next(lines, [])]
    rows = [dict(zip(header, (value.strip() for value in line), strict=False)) for line in lines if line]
    return header, rows


def true_people(values: Sequence[str]) -> Ints:
    """(n,) a number for each person."""
    names = [found.group(1) if (found := COPY_SUFFIX.match(v)) else v for v in values]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def scores(together: int, said: int, true: int) -> dict[str, float]:
    """Precision, recall and F1 from pairs that are right, accepted, and there."""
    return {
        "precision": round(together / said, 5) if said else 1.0,
        "recall": round(together / true, 5) if true else 1.0,
        "f1": round(2 * together / (said + true), 5) if said + true else 1.0,
    }


def pairs_in(labels: Ints) -> int:
    sizes = np.unique(labels, return_counts=True)[1].astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def people_scores(labels: Ints, truth: Ints) -> dict[str, float]:
    both = labels * (int(truth.max()) + 1) + truth
    return scores(pairs_in(both), pairs_in(labels), pairs_in(truth))


def run(
    header: Sequence[str],
    rows: Sequence[dict[str, str]],
    truth_column: str,
    mapping: dict[str, str],
    seed: int,
) -> dict[str, Any]:
    truth = true_people([row.get(truth_column, "") for row in rows])
    table = [[row.get(name, "") for name in header] for row in rows]
    columns = columns_of(header, table, mapping=mapping, without=[truth_column])
    say(f"{len(rows)} records: " + ", ".join(f"{c.name} ({c.role})" for c in columns))
    started = time.process_time()
    records = Records.of(columns, rows)
    left, right = candidate_pairs(records)
    blocked = time.process_time()
    model = train(records, seed=seed, pairs=(left, right))
    trained = time.process_time()
    bits = weights(model, records, left, right)
    groups = agglomerate(len(records), left, right, bits)
    scored = time.process_time()
    say(f"trained in {trained - started:.1f} s, {len(left)} pairs scored in {scored - trained:.1f} s")
    right_pairs = truth[left] == truth[right]
    true = pairs_in(truth)
    by_threshold = {}
    for probability in THRESHOLDS:
        threshold = float(np.log2(probability / (1 - probability)))
        accepted = bits >= threshold
        by_threshold[str(probability)] = {
            "pairs": scores(int((accepted & right_pairs).sum()), int(accepted.sum()), true),
            "people": people_scores(groups.labels(threshold), truth),
        }
    at_default = by_threshold[str(DEFAULT)]["people"]
    say(f"people at {DEFAULT}: {at_default}")
    half = Records.of(columns, rows[: len(rows) // 2])
    online = {
        "model of the whole file": one_at_a_time(model, rows, truth),
        "model of the first half": one_at_a_time(train(half, seed=seed), rows, truth),
    }
    return {
        "records": len(rows),
        "columns": {c.name: c.role for c in columns},
        "true_pairs": true,
        "compared_pairs": len(left),
        "blocking_recall": round(int(right_pairs.sum()) / true, 5) if true else 1.0,
        "threshold": DEFAULT,
        "f1": at_default["f1"],
        "thresholds": by_threshold,
        "online": online,
        "seconds": {
            "candidates": round(blocked - started, 2),
            "training": round(trained - started, 2),
            "scoring": round(scored - trained, 2),
        },
        "seed": seed,
        "model": model.table(),
        "machine": machine(),
    }


def one_at_a_time(model: MatchModel, rows: Sequence[dict[str, str]], truth: Ints) -> dict[str, Any]:
    """The same records arriving one by one, each scored against those before it."""
    live = LivePeople(Matcher(model), 0.0)
    times = []
    for row in rows:
        started = time.thread_time_ns()
        live.add(row)
        times.append((time.thread_time_ns() - started) / 1e6)
    p50, p99 = np.percentile(times, (50, 99))
    found = people_scores(np.array(live.group, np.int64), truth)
    say(f"one at a time: {found}, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return {**found, "p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def table(result: dict[str, Any]) -> str:
    lines = ["| probability | pairs P / R / F1 | people P / R / F1 |", "|---|---|---|"]
    for probability, found in result["thresholds"].items():
        cells = [" / ".join(f"{found[k][m]:.4f}" for m in ("precision", "recall", "f1")) for k in found]
        lines.append(f"| {probability} | {cells[0]} | {cells[1]} |")
    for name, found in result["online"].items():
        cell = " / ".join(f"{found[m]:.4f}" for m in ("precision", "recall", "f1"))
        lines.append(f"| one at a time, {name} | | {cell} |")
    return "\n".join(lines)


def sentence(result: dict[str, Any], name: str) -> str:
    """One line for documents: what was found at the default threshold."""
    people = result["thresholds"][str(DEFAULT)]["people"]
    found = [one["f1"] for one in result["online"].values()]
    return (
        f"- **{name}**, {result['records']:,} records, {result['true_pairs']:,} true pairs: "
        f"F1 {people['f1']:.4f} (precision {people['precision']:.4f}, recall {people['recall']:.4f}; "
        f"{result['blocking_recall']:.2%} of the true pairs were compared); one at a time {found[0]:.4f}, "
        f"with a model of the first half {found[1]:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.identity", description=__doc__)
    parser.add_argument("file", type=Path, help="CSV with a header")
    parser.add_argument("--truth", required=True, help="column that says who is who; never trained on")
    parser.add_argument("--columns", type=Path, help="YAML, column: role; beside the file by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-docs", type=Path, help="put the result into this document")
    parser.add_argument("--name", default="", help="what the document calls the data")
    chosen = parser.parse_args()
    if not chosen.file.is_file():
        parser.error(f"{chosen.file} is not there: give a CSV file of people")
    header, rows = read(chosen.file)
    if chosen.truth not in header:
        parser.error(f"no column {chosen.truth!r} in {chosen.file}: it has {', '.join(header)}")
    beside = chosen.columns or chosen.file.with_suffix(".yaml")
    mapping = yaml.safe_load(beside.read_text()) if chosen.columns or beside.is_file() else {}
    result = run(header, rows, chosen.truth, mapping or {}, chosen.seed)
    if chosen.write_docs:
        marker = f"identity-{chosen.name.replace(' ', '-')}"
        documents.put(chosen.write_docs, marker, sentence(result, chosen.name))
    print(msgspec.json.encode(result).decode() if chosen.json else table(result))


if __name__ == "__main__":
    main()
