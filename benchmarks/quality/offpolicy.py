"""How well a policy is judged from another's log: ``python -m benchmarks.quality.offpolicy --logged FILE
--target FILE [--json]``.

Both files have the columns of the Open Bandit Dataset: ``item_id, position, click, propensity_score`` and
any number of ``user_feature_*``; ``timestamp`` orders them where present. The policy that wrote ``--target``
is judged from ``--logged`` alone; what it earned in its own file is the truth. Protocol of Open Bandit
Pipeline's ``evaluate_off_policy_estimators``: the logged file is resampled (``RandomState(run).choice``),
every estimator is asked, and its relative error ``|estimate - truth| / truth`` is averaged over the runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine
from benchmarks.quality.tables import Column, is_number, need, one_hot, read

from benchmarks import documents
from opportune.experiments.offpolicy.estimators import (
    Direct,
    DoublyRobust,
    Estimator,
    Ips,
    Rounds,
    ShrunkDr,
    Snips,
    SwitchDr,
    tuned,
    value,
)
from opportune.experiments.offpolicy.evaluation import evaluate
from opportune.experiments.offpolicy.log import Floats, Log, Longs
from opportune.experiments.offpolicy.reward_model import AdditiveRewards, chosen_penalty

PUBLISHED = {"dm": 0.157, "ips": 0.311, "snips": 0.312, "dr": 0.292, "dr-os": 0.160}
"""zr-obp's README: bts estimated from random, campaign all, the small files, logistic regression."""

SHRINKAGE = 1.0
"""lambda of shrinkage and tau of the switch, as in Open Bandit Pipeline."""


def load(logged: Path, target: Path) -> tuple[Log, Floats, Floats]:
    """The log, the target policy's probabilities (positions, actions), and its own rewards."""
    ours, theirs = in_order(read(logged)), in_order(read(target))
    names = np.unique(np.concatenate([need(ours, "item_id", logged), need(theirs, "item_id", target)]))
    places = np.unique(need(ours, "position", logged))
    features = sorted(name for name in ours if name.startswith("user_feature"))
    columns = [
        ours[name][:, None].astype(np.float64) if is_number(ours[name]) else one_hot(ours[name])
        for name in features
    ]
    n = len(ours["item_id"])
    log = Log(
        action=np.searchsorted(names, ours["item_id"]),
        reward=need(ours, "click", logged).astype(np.float64),
        propensity=need(ours, "propensity_score", logged).astype(np.float64),
        n_actions=len(names),
        position=np.searchsorted(places, ours["position"]),
        context=np.concatenate(columns, axis=1) if columns else np.zeros((n, 0)),
    )
    there = np.isin(need(theirs, "position", target), places)
    chance = target_probabilities(
        np.searchsorted(names, theirs["item_id"][there]),
        np.searchsorted(places, theirs["position"][there]),
        need(theirs, "propensity_score", target)[there].astype(np.float64),
        (len(places), len(names)),
    )
    return log, chance, need(theirs, "click", target).astype(np.float64)


def in_order(table: dict[str, Column]) -> dict[str, Column]:
    if "timestamp" not in table:
        return table
    order = np.argsort(table["timestamp"].astype(str), kind="stable")
    return {name: column[order] for name, column in table.items()}


def target_probabilities(
    action: Longs, position: Longs, propensity: Floats, shape: tuple[int, int]
) -> Floats:
    """(positions, actions): the mean probability of each choice over what the target policy logged.

    The propensities of *chosen* actions average too high for a policy that moves (Thompson sampling): an
    action is chosen when it is likely. Their harmonic mean does not: given that ``a`` was chosen, ``E[1 / p]
    = 1 / mean p``. It is exact for a policy that stands still, and less noisy than counting choices. What is
    left over is shared by the actions it never logged; where the sum is over 1, all shrink alike.
    """
    cell = position * shape[1] + action
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    inverse = np.bincount(cell, weights=1 / propensity, minlength=shape[0] * shape[1])
    chance = np.divide(count, inverse, out=np.zeros(len(count)), where=count > 0).reshape(shape)
    missing = count.reshape(shape) == 0
    rest = np.maximum(0.0, 1 - chance.sum(axis=1, keepdims=True))
    chance = chance + np.where(missing, rest / np.maximum(1, missing.sum(axis=1, keepdims=True)), 0.0)
    return chance / chance.sum(axis=1, keepdims=True)


def run(log: Log, chance: Floats, rewards: Floats, runs: int, seed: int) -> dict[str, Any]:
    truth = float(rewards.mean())
    penalty = chosen_penalty(log, seed)
    errors: dict[str, list[float]] = {}
    for number in range(runs):
        rows = np.random.RandomState(number).choice(np.arange(len(log)), size=len(log), replace=True)
        rounds = Rounds.of(log.take(rows), chance, AdditiveRewards(penalty), folds=3, seed=seed)
        for name, estimator in compared(rounds).items():
            errors.setdefault(name, []).append(abs(value(estimator, rounds) - truth) / truth)
    judgement = evaluate(log, chance, seed=seed)
    return {
        "rounds": len(log),
        "rewarded": int(log.reward.sum()),
        "truth": truth,
        "truth_standard_error": float(rewards.std(ddof=1) / np.sqrt(len(rewards))),
        "runs": runs,
        "relative_error": {name: summary(found, seed) for name, found in errors.items()},
        "judgement": msgspec.to_builtins(judgement),
        "seed": seed,
        "machine": machine(),
    }


def compared(rounds: Rounds) -> dict[str, Estimator]:
    return {
        "dm": Direct(),
        "ips": Ips(),
        "snips": Snips(),
        "dr": DoublyRobust(),
        "switch-dr": SwitchDr(SHRINKAGE),
        "dr-os": ShrunkDr(SHRINKAGE),
        "switch-dr, tuned": tuned(SwitchDr, rounds),
        "dr-os, tuned": tuned(ShrunkDr, rounds),
    }


def summary(found: list[float], seed: int) -> dict[str, Any]:
    """Mean, standard deviation over runs, and a 95 % bootstrap interval of the mean."""
    errors = np.array(found)
    rows = np.random.default_rng(seed).integers(0, len(errors), (2000, len(errors)))
    low, high = np.quantile(errors[rows].mean(axis=1), (0.025, 0.975))
    return {
        "mean": round(float(errors.mean()), 4),
        "std": round(float(errors.std(ddof=1)), 4) if len(errors) > 1 else 0.0,
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['rounds']} rounds, {report['rewarded']} rewarded; truth {report['truth']:.5f} "
        f"± {report['truth_standard_error']:.5f}; "
        f"{report['runs']} runs, seed {report['seed']}",
        "",
        f"{'relative error':20}{'mean':>8}{'std':>8}{'95 % of the mean':>20}{'published':>11}",
    ]
    for name, found in report["relative_error"].items():
        low, high = found["interval"]
        published = PUBLISHED.get(name)
        lines.append(
            f"{name:20}{found['mean']:8.3f}{found['std']:8.3f}{low:12.3f}-{high:.3f}"
            + (f"{published:14.3f}" if published else "")
        )
    lines += ["", "on the whole log:"]
    for each in report["judgement"]["estimates"]:
        lines.append(f"{each['name']:20}{each['value']:.5f}  ({each['low']:.5f} to {each['high']:.5f})")
    lines += [report["judgement"]["verdict"], ""]
    return "\n".join(lines) + ", ".join(f"{key} {value}" for key, value in report["machine"].items())


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['rounds']:,} rounds, {report['rewarded']} rewarded; truth {report['truth']:.5f} "
        f"± {report['truth_standard_error']:.5f} (its own standard error); {report['runs']} runs.",
        "",
        "| | relative error | std | 95 % of the mean | published |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["relative_error"].items():
        low, high = found["interval"]
        published = PUBLISHED.get(name)
        lines.append(
            f"| {name} | {found['mean']:.3f} | {found['std']:.3f} | {low:.3f}-{high:.3f} | "
            f"{f'{published:.3f}' if published else ''} |"
        )
    lines += ["", f"On the whole log: *{report['judgement']['verdict']}*"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.offpolicy", description=__doc__)
    parser.add_argument("--logged", type=Path, required=True, help="the log that is judged from")
    parser.add_argument("--target", type=Path, required=True, help="the log of the policy that is judged")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--runs", type=int, default=20, help="resamples of the log")
    parser.add_argument("--seed", type=int, default=12345)
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        log, chance, rewards = load(options.logged, options.target)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    report = run(log, chance, rewards, options.runs, options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-offpolicy", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
