"""Whether what is logged is what was done: ``python -m benchmarks.quality.propensities [--draws 1000000]``.

Every draw is a whole ``engine.decide`` for a new session, and what is compared with the frequencies is the
propensity in the decision's record, read back. Shares are held still while draws are counted (learning goes
on before): each kind of bandit, and what holds arms back: a cap, an item out of stock, an apprentice's
baseline. With ``--state FILE`` a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine
from scipy.stats import chi2

from benchmarks import documents
from opportune import Engine
from opportune.clock import FixedClock

CHUNK = 20_000
"""Draws per engine: its journal is thrown away afterwards."""
FLUSH = 200
"""Draws between flushes: a record that is not on disk yet is searched for."""
CELLS = (-1.0, 0.0, 1.0)
"""The contexts of contextual bandits."""

ARMS = "[{id: a, value: i0}, {id: b, value: i1}, {id: c, value: i2}, {id: d, value: i3}]"
CAPPED = "[{id: a}, {id: b}, {id: c}, {id: d, only: {context.cell: {lt: 0.5}}}]"
FACTORS = (
    "[{id: message, levels: [{id: offer}, {id: story}]}, {id: channel, levels: [{id: mail}, {id: push}]}]"
)
CASES = {
    "Thompson sampling": ("thompson", f"arms: {ARMS}", "{floor: 0.05}"),
    "Thompson sampling, contextual": (
        "thompson_x", f"arms: {ARMS}", "{floor: 0.02, features: [context.cell]}",
    ),
    "LinUCB": (
        "linucb", f"arms: {ARMS}", "{policy: {policy: linucb}, floor: 0.05, features: [context.cell]}",
    ),
    "epsilon-greedy": (
        "epsilon", f"arms: {ARMS}", "{policy: {policy: epsilon_greedy, epsilon: 0.2}, floor: 0.0}",
    ),
    "one model over factors": (
        "factors", f"factors: {FACTORS}", "{floor: 0.05, shared: true, features: [context.cell]}",
    ),
    "a capped arm": ("capped", f"arms: {CAPPED}", "{floor: 0.05}"),
    "a ranking": ("ranking", f"arms: {ARMS}", "{floor: 0.05, show: 2, prior_mean: 0.3}"),
    "a ranking, one item out of stock": (
        "stock", f"arms: {ARMS.replace('i3', 'gone')}", "{floor: 0.05, show: 2, prior_mean: 0.3}",
    ),
    "an apprentice, which serves the first arm": (
        "apprentice", f"arms: {ARMS}", "{guard: {trials: 1000000}}",
    ),
    "a fixed split": (
        "split", "arms: [{id: a, weight: 0.1}, {id: b, weight: 0.3}, {id: c, weight: 0.6}]", "",
    ),
}  # fmt: skip

Counts = dict[str, Counter[str]]
"""``case@cell`` -> what was shown -> how often."""


def workspace(folder: Path) -> Path:
    experiments = ["experiments:"]
    placements = ["placements:"]
    for name, arms, bandit in CASES.values():
        ruled = f", bandit: {bandit}" if bandit else ""
        experiments.append(f"  - {{id: {name}, placements: [at_{name}], unit: session, {arms}{ruled}}}")
        placements.append(f"  - {{name: at_{name}, count: 2, sources: [{{source: popular}}]}}")
    folder.mkdir()
    (folder / "experiments.yaml").write_text("\n".join(experiments), encoding="utf-8")
    (folder / "placements.yaml").write_text("\n".join(placements), encoding="utf-8")
    return folder


def opened(folder: Path) -> Engine:
    """A shop whose bandits have learnt something, the same each time, and learn no more."""
    engine = Engine.open(folder / "data", workspace=workspace(folder / "workspace"), clock=FixedClock())
    items: list[dict[str, Any]] = [{"item_id": f"i{n}", "name": f"Thing {n}", "price": 5.0} for n in range(6)]
    engine.ingest(
        [*items, {"item_id": "gone", "name": "Gone", "availability": "out of stock"}], dialect="catalog"
    )
    rng = np.random.default_rng(1)
    clicks = []
    for name, _, bandit in CASES.values():
        for n in range(60 if bandit else 0):
            decision, words = draw(engine, name, -n - 1, CELLS[n % 3])
            if rng.random() < {"a": 0.1, "b": 0.35, "c": 0.2}.get(words[0].arm if words else "", 0.25):
                item = decision.items[0].item_id if decision.items else ""
                clicks.append(
                    {
                        "type": "track", "event": "Product Clicked", "anonymousId": f"x{n}",
                        "messageId": f"{name}-{n}",
                        "properties": {"decision_id": decision.decision_id, "product_id": item},
                    }
                )  # fmt: skip
    engine.ingest(clicks)
    engine.clock.advance(3_600_000)
    engine.state.bandits.decided = lambda *told: None
    return engine


def draw(engine: Engine, name: str, n: int, cell: float) -> Any:
    [decision] = engine.decide(
        {"placement": f"at_{name}", "session_id": f"{name}-{n}", "identifiers": {"anonymous_id": f"x{n}"},
         "context": {"cell": cell}}
    ).decisions  # fmt: skip
    return decision, engine.record(decision.decision_id).assignments


def count(first: int, draws: int, seen: Counts, logged: dict[str, float]) -> None:
    """Draws ``first`` and on of every case in turn. ``logged``: ``case@cell@shown`` -> its propensity."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as engine:
        cases = list(CASES.values())
        for n in range(first, first + draws):
            if n % FLUSH == 0:
                engine.flush()
            name = cases[n % len(cases)][0]
            cell = CELLS[n // len(cases) % len(CELLS)]
            _, words = draw(engine, name, n, cell)
            where, shown = f"{name}@{cell}", ">".join(word.arm for word in words)
            p = float(np.prod([word.propensity for word in words])) if words else 1.0
            seen.setdefault(where, Counter())[shown] += 1
            before = logged.setdefault(f"{where}@{shown}", p)
            if abs(before - p) > 1e-9:
                raise AssertionError(f"the shares moved: {where} {shown}: {before} and {p}")


def compared(seen: Counts, logged: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Chi-square by case, its cells added up; and of all cases together."""
    told: dict[str, dict[str, Any]] = {}
    whole, degrees = 0.0, 0
    for title, (name, _, _) in CASES.items():
        value, free, n = 0.0, 0, 0
        for where, shown in seen.items():
            if where.partition("@")[0] != name:
                continue
            here = sum(shown.values())
            expected = {what: here * logged[f"{where}@{what}"] for what in shown}
            never = max(here - sum(expected.values()), 0.0)  # what was logged for nothing that was shown
            value += never if never > 1e-6 * here else 0.0
            value += sum((k - expected[what]) ** 2 / expected[what] for what, k in shown.items())
            free += len(shown) - 1 + (never > 1e-6 * here)
            n += here
        whole, degrees = whole + value, degrees + free
        told[title] = {
            "draws": n,
            "chi_square": round(value, 2),
            "degrees": free,
            "p": round(float(chi2.sf(value, free)), 4) if free else None,
        }
    told["together"] = {
        "draws": sum(sum(each.values()) for each in seen.values()),
        "chi_square": round(whole, 2),
        "degrees": degrees,
        "p": round(float(chi2.sf(whole, degrees)), 4),
    }
    return told


def run(draws: int, state: Path | None) -> dict[str, Any]:
    seen: Counts = {}
    logged: dict[str, float] = {}
    done, seconds = 0, 0.0
    if state is not None and state.exists():
        kept = msgspec.json.decode(state.read_bytes())
        seen = {where: Counter(shown) for where, shown in kept["seen"].items()}
        logged, done, seconds = kept["logged"], kept["done"], kept["seconds"]
    while done < draws:
        begun = time.process_time()
        step = min(CHUNK, draws - done)
        count(done, step, seen, logged)
        done, seconds = done + step, seconds + time.process_time() - begun
        print(f"{done:,} of {draws:,} draws, {seconds:.0f} s", file=sys.stderr, flush=True)
        if state is not None:
            making = state.with_suffix(".new")
            making.write_bytes(
                msgspec.json.encode({"seen": seen, "logged": logged, "done": done, "seconds": seconds})
            )
            making.replace(state)
    return {"draws": done, "cpu_s": round(seconds, 1), "cases": compared(seen, logged), "machine": machine()}


def markdown(report: dict[str, Any]) -> str:
    lines = ["| | draws | chi-square | degrees of freedom | p |", "|---|---|---|---|---|"]
    for name, each in report["cases"].items():
        p = "certain, as logged" if each["p"] is None else f"{each['p']:.3f}"
        lines.append(f"| {name} | {each['draws']:,} | {each['chi_square']:.1f} | {each['degrees']} | {p} |")
    told = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    return "\n".join([*lines, "", f"{report['draws']:,} decisions, {report['cpu_s']:,.0f} s of CPU. {told}."])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.propensities", description=__doc__)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keep the counts here, and go on from them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    report = run(options.draws, options.state)
    if options.write_docs:
        documents.put(options.write_docs, "quality-propensities", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
