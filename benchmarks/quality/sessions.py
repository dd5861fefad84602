"""How well the next item of a session is predicted: ``python -m benchmarks.quality.sessions FOLDER
[--json]``.

Protocol: every prefix of every test session, the full catalogue ranked, nothing excluded, HR@20 and MRR@20
over all cases. The knobs of session-kNN are chosen on the last sessions of train; test is asked once. The
result is compared with textbook baselines in the same run. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality import session_baselines as baselines
from benchmarks.quality import session_plot, session_ranked
from benchmarks.quality.machine import machine
from benchmarks.quality.scenarios import label
from benchmarks.quality.session_data import Cases, Split, cases, load
from benchmarks.quality.session_ranks import Ranks, hit_rate, knn_ranks, reciprocal_rank
from benchmarks.quality.session_sources import query_us
from benchmarks.quality.session_tuning import GRID, sized, tune

from benchmarks import documents
from opportune.learn.candidate_rows import cases_of
from opportune.learn.ranker_training import RankerConfig
from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig

TUNED = "sessions/knn-tuned"
RESAMPLES = 500


def usual_share(sessions: int) -> float:
    """Which last share of train teaches the knobs and the order: a ranker needs some thousand cases, and an
    index most of the history. Chosen on the last sessions of three small train parts."""
    return min(max(3000 / max(sessions, 1), 0.07), 0.25)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(
    split: Split,
    *,
    evaluations: int,
    share: float,
    sampled: int,
    ranker_cases: int,
    passes: int,
    ablation: bool,
    seed: int,
) -> dict[str, Any]:
    started, began_cpu = time.perf_counter(), time.process_time()
    asked = cases(split.test)
    say(f"{len(split.train)} train, {len(split.test)} test sessions, {len(asked)} cases, {split.items} items")
    tuned = tune(
        split.train, split.items, evaluations=evaluations, share=share, sampled=sampled, seed=seed, report=say
    )
    tuning_s = time.perf_counter() - started

    methods: dict[str, Callable[[], Ranks]] = {
        "sessions/popular": lambda: baselines.popularity(split.train, split.items, asked),
        "sessions/s-pop": lambda: baselines.session_popularity(asked),
        "sessions/markov": lambda: baselines.markov(split.train, split.items, asked),
        "sessions/sr": lambda: baselines.sequential_rules(split.train, split.items, asked),
        "sessions/ar": lambda: baselines.association_rules(split.train, split.items, asked),
        "sessions/item-knn": lambda: baselines.item_knn(split.train, split.items, asked),
        "sessions/v-sknn": lambda: _fitted(split, SessionKnnConfig.textbook(), asked)[1],
        "sessions/knn-default": lambda: _fitted(split, SessionKnnConfig(), asked)[1],
    }
    results = {}
    for name, method in methods.items():
        say(f"test: {label(name)}")
        results[name] = measures(method(), asked, seed)
    say("test: session-kNN, tuned on train")
    source, ranks = _fitted(split, tuned.config, asked)
    results[TUNED] = measures(ranks, asked, seed)
    timed = cases_of(split.test.interactions(), timed=False)
    costs = {TUNED: query_us(source, timed, seed)}
    ranker: dict[str, Any] = {}
    if ranker_cases:
        whole = session_ranked.run(
            split,
            tuned.config,
            RankerConfig(seed=seed),
            share=share,
            cases=ranker_cases,
            passes=passes,
            ablation=ablation,
            seed=seed,
            say=say,
        )
        results.update({name: measures(ranks, asked, seed) for name, ranks in whole.ranks.items()})
        costs.update(whole.costs_us)
        ranker = whole.report
    return {
        "ranker": ranker,
        "cases": len(asked),
        "items": split.items,
        "train_sessions": len(split.train),
        "test_sessions": len(split.test),
        "seed": seed,
        "results": results,
        "costs_us": costs,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - began_cpu, 1),
        "tuning": {
            "evaluations": tuned.evaluations,
            "seconds": round(tuning_s, 1),
            "validation_share_of_train": share,
            "validation_hr20": round(100 * tuned.hit_rate, 2),
            "validation_mrr20": round(100 * tuned.reciprocal_rank, 2),
            "knobs": {knob: getattr(tuned.config, knob) for knob in (*GRID, "recency_half_life")},
        },
        "machine": machine(),
    }


def _fitted(split: Split, config: SessionKnnConfig, asked: Cases) -> tuple[SessionKnn, Ranks]:
    source = SessionKnn(sized(config, len(split.train.item), split.items))
    source.fit(split.train.interactions())
    return source, knn_ranks(source, asked)


def measures(ranks: Ranks, asked: Cases, seed: int) -> dict[str, Any]:
    """Hit rate and mean reciprocal rank in per cent, with 95 % intervals by resampling whole sessions."""
    hit = (ranks > 0).astype(np.float64)
    reciprocal = np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)
    n = int(asked.session.max(initial=-1)) + 1
    sums = np.stack(
        [
            np.bincount(asked.session, weights=column, minlength=n)
            for column in (hit, reciprocal, np.ones(len(hit)))
        ]
    )
    rng = np.random.default_rng(seed)
    drawn = np.array([sums[:, rng.integers(0, n, n)].sum(axis=1) for _ in range(RESAMPLES)])
    intervals = np.percentile(100 * drawn[:, :2] / drawn[:, 2:], (2.5, 97.5), axis=0)
    return {
        "hr20": round(100 * hit_rate(ranks), 2),
        "hr20_interval": [round(float(v), 2) for v in intervals[:, 0]],
        "mrr20": round(100 * reciprocal_rank(ranks), 2),
        "mrr20_interval": [round(float(v), 2) for v in intervals[:, 1]],
    }


def _cost(cost: dict[str, Any]) -> str:
    return f"{cost['p50']:.0f} / {cost['p90']:.0f} / {cost['p99']:.0f}"


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['cases']} cases, {report['test_sessions']} test sessions, {report['items']} items, "
        f"seed {report['seed']}",
        "",
        f"{'':50}{'HR@20':>8}{'95 %':>16}{'MRR@20':>10}{'95 %':>16}",
    ]
    for name, result in report["results"].items():
        hr, mrr = result["hr20_interval"], result["mrr20_interval"]
        lines.append(
            f"{label(name):50}{result['hr20']:8.2f}{hr[0]:9.2f}-{hr[1]:5.2f} "
            f"{result['mrr20']:10.2f}{mrr[0]:9.2f}-{mrr[1]:5.2f}"
        )
    tuning = report["tuning"]
    lines += [
        "",
        *(f"{label(name)}: {_cost(cost)} us of processor time" for name, cost in report["costs_us"].items()),
        f"tuned in {tuning['seconds']} s, {tuning['evaluations']} evaluations on the last "
        f"{tuning['validation_share_of_train']:.0%} of train: "
        f"{tuning['validation_hr20']} / {tuning['validation_mrr20']}",
        "knobs: " + ", ".join(f"{knob} {value:g}" for knob, value in tuning["knobs"].items()),
        ", ".join(f"{key} {value}" for key, value in report["machine"].items()),
    ]
    return "\n".join(lines)


def markdown(report: dict[str, Any], picture: str) -> str:
    """The table of a document."""
    lines = [
        f"{report['cases']:,} cases of {report['test_sessions']:,} test sessions, {report['items']:,} items, "
        f"seed {report['seed']}; intervals by bootstrap over sessions.",
        "",
        "| scenario | | HR@20 | 95 % | MRR@20 | 95 % | us a query, p50 / p90 / p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in report["results"].items():
        hr, mrr = result["hr20_interval"], result["mrr20_interval"]
        lines.append(
            f"| `{name}` | {label(name)} | {result['hr20']:.2f} | {hr[0]:.2f}-{hr[1]:.2f} "
            f"| {result['mrr20']:.2f} | {mrr[0]:.2f}-{mrr[1]:.2f} "
            f"| {_cost(report['costs_us'][name]) if name in report['costs_us'] else ''} |"
        )
    tuning = report["tuning"]
    lines += [
        "",
        f"The whole run: {report['cpu_seconds']:.0f} s of processor time. Session-kNN tuned "
        f"in {tuning['seconds']} s with {tuning['evaluations']} evaluations on the last "
        f"{tuning['validation_share_of_train']:.0%} of train. "
        + ", ".join(f"{key} {value}" for key, value in report["machine"].items())
        + ".",
        "",
        f"![HR@20 and MRR@20 against microseconds a query](pictures/{picture})",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.sessions", description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        help="has sessions.parquet (split, session_id, position, item_id), train.parquet and test.parquet "
        "(SessionId, ItemId, Time), or one table of events; .csv will do",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=40, help="configurations tried at most")
    parser.add_argument(
        "--validation-share",
        type=float,
        help="last share of train sessions; default: 3,000 sessions, at least 7 and at most 25 %%",
    )
    parser.add_argument("--validation-sessions", type=int, default=3000, help="sessions sampled from it")
    parser.add_argument(
        "--ranker-cases", type=int, default=40_000, help="cases that the ranker learns from, 0 for no ranker"
    )
    parser.add_argument(
        "--sequence-passes", type=int, default=3, help="over train, of the sequence model; 0 for none"
    )
    parser.add_argument("--ablation", action="store_true", help="also train on sampled negatives")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    parser.add_argument("--name", default="sessions", help="what the document calls this data")
    options = parser.parse_args(arguments)
    try:
        split = load(options.folder)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        return 2
    report = run(
        split,
        evaluations=options.evaluations,
        share=options.validation_share or usual_share(len(split.train)),
        sampled=options.validation_sessions,
        ranker_cases=options.ranker_cases,
        passes=options.sequence_passes,
        ablation=options.ablation,
        seed=options.seed,
    )
    if options.write_docs:
        picture = options.write_docs.parent / "pictures" / f"quality-{options.name}.svg"
        session_plot.draw(report, picture)
        documents.put(options.write_docs, f"quality-{options.name}", markdown(report, picture.name))
    print(msgspec.json.encode(report).decode() if options.json else table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
