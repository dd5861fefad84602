"""Whether learning which message next beats the best message of the moment: ``python -m
benchmarks.quality.sequences [--json]``.

Simulated journeys (``opportune.simulate.messages``) logged with messages drawn at random; both policies are
fitted on them and then sent to 50,000 new shoppers, which is the truth. One shop has messages that echo, in
the other every message stands alone and looking ahead can only add noise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.experiments.sequences.fitted_q import FittedQ
from opportune.experiments.sequences.judging import judge
from opportune.simulate.messages import MessageShop, journeys, worth

SHOPS = {"messages echo": MessageShop(echo=1.0), "every message stands alone": MessageShop(echo=0.0)}


def run(logged: int, seeds: int) -> dict[str, Any]:
    shops = {}
    for name, shop in SHOPS.items():
        rows = []
        for seed in range(1, seeds + 1):
            log = journeys(shop, logged, seed)
            verdict = judge(log)
            rows.append(
                {
                    "random": worth(shop, None),
                    "myopic": worth(shop, FittedQ(steps_ahead=False).fit(log).choose),
                    "ahead": worth(shop, FittedQ().fit(log).choose),
                    "recommended": worth(shop, verdict.policy.choose),
                    "estimated_gain": [verdict.low, verdict.gain, verdict.high],
                    "looks_ahead": verdict.looks_ahead,
                }
            )
            print(f"{name}, seed {seed}: {verdict.sentence}", file=sys.stderr, flush=True)
        shops[name] = {
            **{key: float(np.mean([r[key] for r in rows])) for key in ("random", "myopic", "ahead")},
            "recommended": float(np.mean([r["recommended"] for r in rows])),
            "looks_ahead": sum(bool(r["looks_ahead"]) for r in rows),
            "inside": sum(
                r["estimated_gain"][0] <= r["ahead"] - r["myopic"] <= r["estimated_gain"][2] for r in rows
            ),
            "by_seed": rows,
        }
    return {"logged": logged, "seeds": seeds, "shops": shops, "machine": machine()}


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['logged']:,} logged journeys of four messages drawn at random, logs per shop: "
        f"{report['seeds']}; true rewards per journey.",
        "",
        "| shop | at random | best of the moment | looking ahead | as judged on the log | judged to pay |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in report["shops"].items():
        lines.append(
            f"| {name} | {found['random']:.4f} | {found['myopic']:.4f} | {found['ahead']:.4f} "
            f"| {found['recommended']:.4f} | {found['looks_ahead']} of {report['seeds']} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.sequences", description=__doc__)
    parser.add_argument("--logged", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    report = run(options.logged, options.seeds)
    if options.write_docs:
        documents.put(options.write_docs, "quality-sequences", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
