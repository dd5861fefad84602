"""How well a session's purchase is predicted: ``python -m benchmarks.quality.propensity FILE [--json]``.

``FILE`` is the UCI Online Shoppers Purchasing Intention data (Sakar et al., 2018) as Parquet or CSV.
Scenarios ``propensity/without-page-values`` and ``propensity/with-page-values``: that column is made of past
transactions of the same pages and nearly leaks the outcome, so the first is the honest one.

Protocol: five stratified folds (seed 1), each learnt on the other four; how many trees are kept is chosen on
a part of those four only, everything else is the shipped default. Baselines in the same run: LightGBM's own
defaults, and logistic regression on ranks. *derived* adds totals and ratios of the file's own columns (pages,
seconds, seconds a page, exits that are no bounces), as a feature definition would. AUC with a 95 % interval
by bootstrap over sessions, and average precision.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from benchmarks.quality import tables
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.learn.propensity import Propensity, PropensityConfig, columns_of, train_propensity

FOLDS = 5
RESAMPLES = 500
OUTCOME, LEAK = "Revenue", "PageValues"
CODES = ("OperatingSystems", "Browser", "Region", "TrafficType")
Floats = npt.NDArray[np.float64]
Row = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rows_of(table: Mapping[str, tables.Column]) -> list[Row]:
    columns = {name: column.tolist() for name, column in table.items() if name != OUTCOME}
    for name in CODES:
        if name in columns:
            columns[name] = [f"{value}" for value in columns[name]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def derived(row: Row) -> Row:
    pages = row["Administrative"] + row["Informational"] + row["ProductRelated"]
    seconds = row["Administrative_Duration"] + row["Informational_Duration"] + row["ProductRelated_Duration"]
    return row | {
        "pages": pages,
        "seconds": seconds,
        "seconds_a_page": seconds / (pages + 1),
        "seconds_a_product": row["ProductRelated_Duration"] / (row["ProductRelated"] + 1),
        "exits_no_bounces": row["ExitRates"] - row["BounceRates"],
        "exits": row["ExitRates"] * pages,
    }


def folds(truth: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    fold = np.empty(len(truth), np.int64)
    for side in (False, True):
        mine = rng.permutation(np.flatnonzero(truth == side))
        fold[mine] = np.arange(len(mine)) % FOLDS
    return fold


def auc(truth: npt.NDArray[np.bool_], score: Floats) -> float:
    """The probability that a buyer scores above another, ties counting half (Mann-Whitney)."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    yes = int(truth.sum())
    return float((rank[truth].sum() - yes * (yes + 1) / 2) / (yes * (len(truth) - yes)))


def average_precision(truth: npt.NDArray[np.bool_], score: Floats) -> float:
    ordered = truth[np.argsort(-score, kind="stable")]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1))[ordered].mean())


Learner = Callable[[Sequence[Row], Sequence[bool]], Callable[[Sequence[Row]], Floats]]


def ours(rows: Sequence[Row], truth: Sequence[bool]) -> Callable[[Sequence[Row]], Floats]:
    return Propensity(train_propensity(rows, truth, config=PropensityConfig(shuffled=True))).read_many


def bagged(rows: Sequence[Row], truth: Sequence[bool]) -> Callable[[Sequence[Row]], Floats]:
    models = [
        Propensity(train_propensity(rows, truth, config=PropensityConfig(shuffled=True, seed=seed))).read_many
        for seed in range(1, 6)
    ]
    return lambda asked: np.mean([model(asked) for model in models], axis=0)


def default_trees(rows: Sequence[Row], truth: Sequence[bool]) -> Callable[[Sequence[Row]], Floats]:
    import lightgbm

    words = _words(rows)
    names = list(rows[0])

    def matrix(asked: Sequence[Row]) -> Floats:
        return columns_of(asked, names, words).T.astype(np.float64)

    data = lightgbm.Dataset(matrix(rows), np.asarray(truth, float))
    model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1}, data)
    return lambda asked: np.asarray(model.predict(matrix(asked)))


def logistic(rows: Sequence[Row], truth: Sequence[bool]) -> Callable[[Sequence[Row]], Floats]:
    """On ranks of the numbers and one column a word."""
    from opportune.profiles.intents.softmax import fit_softmax

    words = _words(rows)
    numbers = [name for name in rows[0] if name not in words]
    known = np.sort(columns_of(rows, numbers, {}), axis=1)

    def matrix(asked: Sequence[Row]) -> npt.NDArray[np.float32]:
        raw = columns_of(asked, numbers, {})
        ranked = [np.searchsorted(k, r) / len(rows) for k, r in zip(known, raw, strict=True)]
        coded = columns_of(asked, list(words), words)
        one = [coded[i] == v for i, name in enumerate(words) for v in range(len(words[name]))]
        return np.stack([*ranked, *one], axis=1).astype(np.float32)

    weight = fit_softmax(matrix(rows), np.asarray(truth, np.int64), 2, cost=1.0)
    slope = weight[1] - weight[0]
    return lambda asked: matrix(asked) @ slope[:-1] + slope[-1]


def _words(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(sorted({row[name] for row in rows}))
        for name, value in rows[0].items()
        if isinstance(value, str)
    }


def measured(rows: list[Row], truth: npt.NDArray[np.bool_], learn: Learner, seed: int) -> dict[str, Any]:
    fold = folds(truth, seed)
    score = np.zeros(len(truth))
    each = []
    for one in range(FOLDS):
        rest, aside = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        model = learn([rows[i] for i in rest], truth[rest].tolist())
        score[aside] = model([rows[i] for i in aside])
        each.append((auc(truth[aside], score[aside]), average_precision(truth[aside], score[aside])))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        picked = rng.integers(0, len(truth), len(truth))
        parts = [picked[fold[picked] == one] for one in range(FOLDS)]
        drawn.append(np.mean([auc(truth[part], score[part]) for part in parts]))
    return {
        "auc": round(float(np.mean([a for a, _ in each])), 4),
        "auc_interval": [round(float(v), 4) for v in np.percentile(drawn, (2.5, 97.5))],
        "average_precision": round(float(np.mean([p for _, p in each])), 4),
    }


def run(table: dict[str, tables.Column], seed: int) -> dict[str, Any]:
    truth = np.asarray(table[OUTCOME]).astype(bool)
    whole = rows_of(table)
    honest = [{name: v for name, v in row.items() if name != LEAK} for row in whole]
    results: dict[str, dict[str, Any]] = {}
    for scenario, rows in (
        ("propensity/without-page-values", honest),
        ("propensity/with-page-values", whole),
    ):
        more = [derived(row) for row in rows]
        for name, learn, given in (
            ("logistic regression", logistic, rows),
            ("LightGBM, its defaults", default_trees, rows),
            ("shipped defaults", ours, rows),
            ("shipped defaults, derived", ours, more),
            ("mean of five, derived", bagged, more),
        ):
            say(f"{scenario}: {name}")
            results.setdefault(scenario, {})[name] = measured(given, truth, learn, seed)
    return {
        "rows": len(truth),
        "bought": int(truth.sum()),
        "seed": seed,
        "bars": {"without-page-values": {"bar": 0.78, "stretch": 0.80}},
        "results": results,
        "machine": machine(),
    }


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['rows']:,} sessions, {report['bought']:,} purchases, five folds, seed {report['seed']}.",
        "",
        "| | | AUC | 95 % | average precision |",
        "|---|---|---|---|---|",
    ]
    for scenario, methods in report["results"].items():
        for name, r in methods.items():
            low, high = r["auc_interval"]
            lines.append(
                f"| {scenario} | {name} | {r['auc']:.3f} | {low:.3f}-{high:.3f} "
                f"| {r['average_precision']:.3f} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.propensity", description=__doc__)
    parser.add_argument("file", type=Path, help="online_shoppers_intention as .parquet or .csv")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        table = tables.read(options.file)
        tables.need(table, OUTCOME, options.file)
        tables.need(table, LEAK, options.file)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    report = run(table, options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-propensity", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
