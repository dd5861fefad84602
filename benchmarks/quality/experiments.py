"""Whether the numbers of experiments keep their word: ``python -m benchmarks.quality.experiments``.

False alarms of A/A tests that are looked at after every batch, power at the calculator's sample size, CUPED
against theory, the sample-ratio check, and the time of a report over millions of exposures. Synthetic people
with known truth; every run has its own draw of one seeded generator.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.experiments.definitions import parse_experiments
from opportune.experiments.metrics import Metrics
from opportune.experiments.statistics.effects import cuped_arms, effect, mean
from opportune.experiments.statistics.intervals import always_valid, fixed
from opportune.experiments.statistics.power import sample_size, variance_of_rate
from opportune.experiments.statistics.ratio_check import ratio_check
from opportune.experiments.statistics.sums import Sums
from opportune.warehouse.report import report
from opportune.warehouse.tables import connect

ALPHA = 0.05
RATE = 0.05
BATCH = 200
LOOKS = 50
START_MS = 1_760_000_000_000


def spending(rng: np.random.Generator, size: int, rate: float = RATE) -> np.ndarray[Any, Any]:
    """Money of people of whom few buy, and some of these a lot: log-normal, sigma 1."""
    return (rng.random(size) < rate) * np.exp(rng.normal(3.0, 1.0, size))


def looks(values: np.ndarray[Any, Any]) -> list[Sums]:
    """The sums of an arm after every batch."""
    n = np.arange(1, LOOKS + 1) * BATCH
    total = values.reshape(LOOKS, BATCH).sum(axis=1).cumsum()
    squares = (values**2).reshape(LOOKS, BATCH).sum(axis=1).cumsum()
    return [
        Sums(int(k), t / k, 0.0, max(s - t * t / k, 0.0)) for k, t, s in zip(n, total, squares, strict=True)
    ]


def false_alarms(rng: np.random.Generator, runs: int, draw: Any) -> dict[str, float]:
    """The share of A/A runs in which any look said that the arms differ."""
    sequential = naive = last = 0
    for _ in range(runs):
        a, b = looks(draw(rng, LOOKS * BATCH)), looks(draw(rng, LOOKS * BATCH))
        effects = [effect(mean(x), mean(y)) for x, y in zip(a, b, strict=True)]
        sequential += any(always_valid(e, ALPHA).p < ALPHA for e in effects)
        ps = [fixed(e, ALPHA).p for e in effects]
        naive += min(ps) < ALPHA
        last += ps[-1] < ALPHA
    return {
        "runs": runs,
        "looks": LOOKS,
        "units_per_arm": LOOKS * BATCH,
        "sequential": sequential / runs,
        "naive": naive / runs,
        "one_look": last / runs,
    }


def power(rng: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    """How often a true effect is seen at the sample size that the calculator gave."""
    rows = []
    for rate, lift, promised, sequential in (
        (0.05, 0.10, 0.80, False),
        (0.05, 0.10, 0.90, False),
        (0.20, 0.05, 0.80, False),
        (0.05, 0.10, 0.80, True),
    ):
        treated = rate * (1 + lift)
        plan = sample_size(
            rate * lift, variance_of_rate(rate), variance_treated=variance_of_rate(treated), power=promised,
            sequential=sequential,
        )  # fmt: skip
        n, seen = plan.per_arm, 0
        for _ in range(runs):
            arms = [Sums.of_proportion(n, int(rng.binomial(n, p))) for p in (rate, treated)]
            e = effect(mean(arms[0]), mean(arms[1]))
            interval = always_valid(e, ALPHA, tuned_for=plan.units) if sequential else fixed(e, ALPHA)
            seen += interval.excludes_zero
        rows.append(
            {"rate": rate, "lift": lift, "look": "any time" if sequential else "once", "per_arm": n,
             "promised": promised, "seen": seen / runs, "runs": runs}
        )  # fmt: skip
    return rows


def cuped(rng: np.random.Generator, runs: int) -> list[dict[str, Any]]:
    """Variance taken away by last month's spending, against the squared correlation, and the bias."""
    rows = []
    for correlation in (0.3, 0.5, 0.7):
        n, lift, plain, adjusted = 400, 0.1, [], []
        for _ in range(runs):
            before = rng.normal(0, 1, 2 * n)
            after = correlation * before + math.sqrt(1 - correlation**2) * rng.normal(0, 1, 2 * n)
            after[n:] += lift
            arms = [Sums.of(after[:n], before[:n]), Sums.of(after[n:], before[n:])]
            plain.append(effect(mean(arms[0]), mean(arms[1])).difference)
            adjusted.append(effect(*cuped_arms(arms)).difference)
        saved = 1 - np.var(adjusted) / np.var(plain)
        noise = np.std(adjusted) / math.sqrt(runs)
        rows.append(
            {"correlation": correlation, "theory": correlation**2, "saved": float(saved), "runs": runs,
             "bias": float(np.mean(adjusted) - lift),
             "bias_in_standard_errors": float((np.mean(adjusted) - lift) / noise)}
        )  # fmt: skip
    return rows


def sample_ratio(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """False alarms at 50/50 and alarms at 51/49, of 100,000 units; and of looking after every tenth."""
    units = 100_000
    fair = rng.binomial(units, 0.5, runs)
    skewed = rng.binomial(units, 0.51, runs)
    tenths = rng.binomial(units // 10, 0.5, (runs // 10, 10)).cumsum(axis=1)
    alarms = sum(
        any(
            ratio_check([int(c), (k + 1) * units // 10 - int(c)], [0.5, 0.5]).p_any_time < 0.001
            for k, c in enumerate(row)
        )
        for row in tenths
    )
    return {
        "runs": runs,
        "false_alarms": sum(ratio_check([int(c), units - int(c)], [0.5, 0.5]).wrong for c in fair) / runs,
        "caught": sum(ratio_check([int(c), units - int(c)], [0.5, 0.5]).wrong for c in skewed) / runs,
        "false_alarms_at_any_of_ten_looks": alarms / len(tenths),
    }


def report_time(exposures: int, threads: int) -> dict[str, Any]:
    """A report of three metrics over that many exposures, of a fifth as many people and half as many orders,
    as the derived tables hold them."""
    connection = connect(None, threads)
    people = exposures // 5
    connection.execute(f"""
        insert into exposures
        select range, {START_MS} + range * 100, hash(range % {people}), hash(range % {people}), 0, 't',
            case when hash(range % {people}) % 2 = 0 then 'control' else 'popular' end, 0.5, 'home', '{{}}'
        from range({exposures})
    """)
    connection.execute(f"""
        insert into events
        select range, {START_MS} + (range * 7919) % {exposures} * 100, hash((range * 31) % {people}), 0,
            case when range % 5 = 0 then 'order_completed' else 'product_viewed' end, (range % 97)::double, 0,
            case when range % 5 = 0 then hash(range) else 0 end
        from range({exposures // 2})
    """)
    experiment = parse_experiments(
        "experiments: [{id: t, arms: [{id: control}, {id: popular}], "
        "metrics: [revenue, conversion, order_value]}]"
    ).get("t")
    wall, cpu = time.perf_counter(), time.process_time()
    found = report(connection, experiment, Metrics(), START_MS + exposures * 100)
    return {
        "exposures": exposures,
        "people": sum(found.arms.values()),
        "events": exposures // 2,
        "threads": threads,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
    }


def run(seed: int, scale: float, exposures: int) -> dict[str, Any]:
    def generator(stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, stream])

    return {
        "seed": seed,
        "machine": machine(),
        "false_alarms_conversion": false_alarms(
            generator(1), round(2_000 * scale), lambda rng, n: (rng.random(n) < RATE).astype(float)
        ),
        "false_alarms_spending": false_alarms(generator(2), round(2_000 * scale), spending),
        "power": power(generator(3), round(1_000 * scale)),
        "cuped": cuped(generator(4), round(20_000 * scale)),
        "sample_ratio": sample_ratio(generator(5), round(20_000 * scale)),
        "report": report_time(exposures, 2) if exposures else None,
    }


def markdown(found: dict[str, Any]) -> str:
    """The results as the document shows them."""
    ratio = found["sample_ratio"]
    lines = [
        "| A/A, looked at after each of 50 batches of 200 an arm | runs | sequential | naive | one look |",
        "|---|---|---|---|---|",
    ]
    for name, key in (
        ("conversion of 5 %", "false_alarms_conversion"),
        ("spending", "false_alarms_spending"),
    ):
        row = found[key]
        lines.append(
            f"| false alarms, {name} | {row['runs']:,} | {row['sequential']:.2%} | {row['naive']:.1%} "
            f"| {row['one_look']:.1%} |"
        )
    lines += ["", "| power | look | per arm | promised | seen | runs |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['rate']:.0%} rate, {r['lift']:.0%} lift | {r['look']} | {r['per_arm']:,} "
        f"| {r['promised']:.0%} | {r['seen']:.1%} | {r['runs']:,} |"
        for r in found["power"]
    ]
    lines += ["", "| CUPED, correlation | theory: variance saved | measured | bias in standard errors |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {r['correlation']} | {r['theory']:.1%} | {r['saved']:.1%} | {r['bias_in_standard_errors']:+.1f} |"
        for r in found["cuped"]
    ]
    lines += [
        "",
        f"Sample ratio, 100,000 units, {ratio['runs']:,} runs: false alarms {ratio['false_alarms']:.3%}; "
        f"51/49 caught in {ratio['caught']:.2%}; with the any-time p below 0.001 at any of ten looks "
        f"{ratio['false_alarms_at_any_of_ten_looks']:.3%} false alarms.",
    ]
    if found["report"]:
        r = found["report"]
        lines += [
            "",
            f"A report of three metrics over {r['exposures']:,} exposures of {r['people']:,} people with "
            f"{r['events']:,} events, {r['threads']} threads: {r['wall_s']:.1f} s, "
            f"{r['cpu_s']:.1f} s of CPU.",
        ]
    told = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    return "\n".join([*lines, "", f"Seed {found['seed']}. {told}."])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.experiments", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of runs")
    parser.add_argument("--exposures", type=int, default=10_000_000, help="of the report; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the tables into a document")
    options = parser.parse_args(arguments)
    found = run(options.seed, options.scale, options.exposures)
    if options.write_docs:
        documents.put(options.write_docs, "quality-experiments", markdown(found))
    print(msgspec.json.encode(found).decode() if options.json else markdown(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
