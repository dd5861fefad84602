"""What bandits lose against knowing everything: ``python -m benchmarks.quality.bandits [--json]``.

Simulated shoppers (``opportune.simulate``) whose tastes decide which of five arms suits them; seasons and
weekdays swing everybody's rate. Every policy makes the same decisions for the same shoppers with the same
randomness; responses are known after a minute. Regret is the chance of the best arm for that shopper less the
chance of the chosen one, summed.
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
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.experiments.bandits.policy import Bandit, EpsilonGreedy, LinUcb
from opportune.simulate.contenders import FixedSplit, Learning, ShipTheWinner
from opportune.simulate.population import Population
from opportune.simulate.settings import Settings
from opportune.simulate.trial import ArmPolicy, regret
from opportune.simulate.truth import Truth

OURS = "Thompson sampling, contextual"
RIVALS = ("epsilon-greedy 0.1", "fixed A/B/n")


def contenders(settings: Settings, decisions: int) -> dict[str, Callable[[], ArmPolicy]]:
    arms = tuple(f"arm{i}" for i in range(settings.arms))
    tastes = tuple(f"taste_{i}" for i in range(settings.tastes))
    prior = {"prior_mean": settings.rate, "prior_trials": 10.0}
    greedy = EpsilonGreedy(0.1)
    return {
        OURS: lambda: Learning(Bandit(arms, features=tastes, floor=0.002, **prior)),
        "LinUCB": lambda: Learning(Bandit(arms, policy=LinUcb(1.0), features=tastes, floor=0.002, **prior)),
        "epsilon-greedy 0.1, contextual": lambda: Learning(
            Bandit(arms, policy=greedy, features=tastes, floor=0.0, **prior)
        ),
        "Thompson sampling": lambda: Learning(Bandit(arms, floor=0.002, **prior)),
        "epsilon-greedy 0.1": lambda: Learning(Bandit(arms, policy=greedy, floor=0.0, **prior)),
        "fixed A/B/n": lambda: FixedSplit(settings.arms),
        "A/B/n on a tenth, then its winner": lambda: ShipTheWinner(settings.arms, decisions // 10),
    }


def run(decisions: int, seeds: int) -> dict[str, Any]:
    settings = Settings(shoppers=20_000, bots=0.0)
    totals: dict[str, list[float]] = {}
    cost: dict[str, float] = {}
    for seed in range(1, seeds + 1):
        truth = Truth(Population(settings, seed))
        for name, make in contenders(settings, decisions).items():
            started = time.process_time()
            found = regret(truth, make(), decisions, seed=seed)
            cost[name] = 1e6 * (time.process_time() - started) / decisions
            totals.setdefault(name, []).append(found.total)
            print(f"seed {seed}: {name}: {found.total:.0f}", file=sys.stderr, flush=True)
    ours = np.array(totals[OURS])
    return {
        "decisions": decisions,
        "seeds": seeds,
        "settings": msgspec.to_builtins(settings),
        "regret": {
            name: {
                "mean": round(float(np.mean(found)), 1),
                "by_seed": [round(value, 1) for value in found],
                "ours_relative": round(float((ours / np.array(found)).mean()), 3),
                "us_per_decision": round(cost[name], 1),
            }
            for name, found in totals.items()
        },
        "less_than_half": {name: bool((ours < 0.5 * np.array(totals[name])).all()) for name in RIVALS},
        "machine": machine(),
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['decisions']:,} decisions, {report['seeds']} shops",
        "",
        f"{'':36}{'regret':>10}{'ours / it':>11}{'us each':>9}",
    ]
    for name, found in report["regret"].items():
        lines.append(
            f"{name:36}{found['mean']:10.1f}{found['ours_relative']:11.3f}{found['us_per_decision']:9.1f}"
        )
    return "\n".join(lines)


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['decisions']:,} decisions in each of {report['seeds']} simulated shops, five arms.",
        "",
        "| policy | regret | contextual Thompson sampling over it | us per decision, simulation included |",
        "|---|---|---|---|",
    ]
    for name, found in report["regret"].items():
        ratio, cost = found["ours_relative"], found["us_per_decision"]
        lines.append(f"| {name} | {found['mean']:,.0f} | {ratio:.2f} | {cost:.0f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.bandits", description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=3, help="shops, each with its own shoppers and arms")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    report = run(options.decisions, options.seeds)
    if options.write_docs:
        documents.put(options.write_docs, "quality-bandits", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
