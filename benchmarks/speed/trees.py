"""What scoring a list of candidates costs: ``python -m benchmarks.speed.trees [--json]``.

Models of several sizes are trained on made-up rows; the tree scorer and ``Booster.predict`` (one thread)
score the same candidates in the same run, taking turns. Processor time, the median of the repetitions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine

from opportune.recommend.tree_scorer import TreeScorer

SIZES = ((100, 40, 30, 31), (100, 40, 100, 31), (100, 40, 118, 31), (100, 40, 100, 63), (200, 30, 100, 31))
"""(candidates, features, trees, leaves)"""


def processor_us(work: Callable[[], object], calls: int) -> float:
    started = time.process_time_ns()
    for _ in range(calls):
        work()
    return (time.process_time_ns() - started) / calls / 1000


def measure(candidates: int, features: int, trees: int, leaves: int, seed: int) -> dict[str, Any]:
    import lightgbm

    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(20_000, features)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    clicked = np.nan_to_num(rows) @ rng.normal(size=features) + rng.normal(size=len(rows)) > 0
    parameters = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "num_threads": 1, "seed": seed}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, clicked.astype(int)), trees)
    scorer = TreeScorer.from_text(booster.model_to_string())
    wide, columns = rows[:candidates].astype(np.float64), np.ascontiguousarray(rows[:candidates].T)
    difference = float(np.abs(scorer.score(columns) - booster.predict(wide)).max())
    ours, theirs = [], []
    for _ in range(25):
        ours.append(processor_us(lambda: scorer.score(columns), 40))
        theirs.append(processor_us(lambda: booster.predict(wide, num_threads=1), 4))
    return {
        "candidates": candidates,
        "features": features,
        "trees": trees,
        "leaves": leaves,
        "scorer_us": round(float(np.median(ours)), 1),
        "booster_predict_us": round(float(np.median(theirs)), 1),
        "largest_difference": difference,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.speed.trees", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rows = [measure(*size, seed=options.seed) for size in SIZES]
    if options.json:
        print(msgspec.json.encode({"machine": machine(), "seed": options.seed, "trees": rows}).decode())
        return 0
    for row in rows:
        print(
            f"{row['candidates']} x {row['features']}, {row['trees']} trees x {row['leaves']} leaves: "
            f"{row['scorer_us']} us, Booster.predict {row['booster_predict_us']} us, "
            f"largest difference {row['largest_difference']:.1g}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
