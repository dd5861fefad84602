"""How well the intent of a text is found: ``python -m benchmarks.quality.intents FOLDER [--json]``.

``FOLDER`` has a ``data_full.parquet`` with ``split, text, intent`` as of CLINC150 (Larson et al., EMNLP
2019): 150 intents, and texts that have none of them. Scenarios:

- ``intents/full``: learnt from ``train``; the threshold from ``val``, which has in-scope texts only.
- ``intents/few``: ten examples of each intent, the threshold by cross-validation among them.

In-scope accuracy counts a text that was called out of scope as wrong; out-of-scope recall is the share of the
others that were found out. No out-of-scope text is used for learning or tuning; ``test`` is asked once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from benchmarks.quality.machine import machine

from benchmarks import documents
from opportune.catalog.embedding import MiniLM, missing
from opportune.profiles.intents.model import Encoder, IntentModel

OTHER = "oos"
FEW = 10
TIMED = 300
RESAMPLES = 1000
BARS = {"bar": (93.0, 50.0), "stretch": (96.0, 60.0)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Texts(msgspec.Struct):
    text: list[str]
    intent: list[str]


def load(folder: Path) -> dict[str, Texts]:
    """Raises :class:`FileNotFoundError` saying what is missing."""
    import pyarrow.parquet

    path = folder / "data_full.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: split, text, intent are needed")
    parts: dict[str, Texts] = {}
    for row in pyarrow.parquet.read_table(path).to_pylist():
        part = parts.setdefault(row["split"], Texts([], []))
        part.text.append(row["text"])
        part.intent.append(row["intent"])
    return parts


def few(train: Texts, each: int) -> Texts:
    """The first examples of every intent."""
    kept: dict[str, int] = {}
    out = Texts([], [])
    for text, intent in zip(train.text, train.intent, strict=True):
        kept[intent] = kept.get(intent, 0) + 1
        if kept[intent] <= each:
            out.text.append(text)
            out.intent.append(intent)
    return out


def remembering(encoder: Encoder) -> Encoder:
    """Encodes every text once: scenarios share most of theirs."""
    known: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}

    def encode(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encoder(new), strict=True))
        return np.stack([known[text] for text in texts])

    return encode


def measured(model: IntentModel, parts: dict[str, Texts], seed: int) -> dict[str, Any]:
    inside, outside = parts["test"], parts["oos_test"]
    right = np.array(
        [
            found.name == intent
            for found, intent in zip(model.read_many(inside.text), inside.intent, strict=True)
        ]
    )
    caught = np.array([not found.name for found in model.read_many(outside.text)])
    rng = np.random.default_rng(seed)

    def interval(column: np.ndarray[Any, np.dtype[np.bool_]]) -> list[float]:
        drawn = [column[rng.integers(0, len(column), len(column))].mean() for _ in range(RESAMPLES)]
        return [round(100 * float(v), 2) for v in np.percentile(drawn, (2.5, 97.5))]

    return {
        "in_scope_accuracy": round(100 * float(right.mean()), 2),
        "in_scope_interval": interval(right),
        "out_of_scope_recall": round(100 * float(caught.mean()), 2),
        "out_of_scope_interval": interval(caught),
    }


def read_us(model: IntentModel, texts: Sequence[str]) -> float:
    """Processor microseconds of reading one text, median."""
    model.read(texts[0])
    times = []
    for text in texts[:TIMED]:
        started = time.thread_time_ns()
        model.read(text)
        times.append((time.thread_time_ns() - started) / 1000)
    return round(float(np.median(times)), 1)


def run(parts: dict[str, Texts], *, vectors: bool, seed: int) -> dict[str, Any]:
    train, val = parts["train"], parts["val"]
    learnt = {"intents/full": (train, (val.text, val.intent)), "intents/few": (few(train, FEW), None)}
    encoders: dict[str, Encoder | None] = {"terms": None}
    plain = MiniLM() if vectors else None
    if plain is not None:
        encoders["terms and vectors"] = remembering(plain)
    results: dict[str, dict[str, Any]] = {}
    for scenario, (examples, held_out) in learnt.items():
        for name, encoder in encoders.items():
            say(f"{scenario}: {name}, {len(examples.text)} examples")
            started = time.process_time()
            model = IntentModel(examples.text, examples.intent, encoder=encoder, held_out=held_out)
            fit_s = time.process_time() - started
            result = measured(model, parts, seed)
            if encoder is not None:
                model._encoder = plain
            result |= {"fit_cpu_s": round(fit_s, 1), "read_us": read_us(model, parts["val"].text)}
            results.setdefault(scenario, {})[name] = result
    return {
        "test": {"in_scope": len(parts["test"].text), "out_of_scope": len(parts["oos_test"].text)},
        "seed": seed,
        "bars": BARS,
        "results": results,
        "machine": machine(),
    }


def markdown(report: dict[str, Any]) -> str:
    test = report["test"]
    lines = [
        f"{test['in_scope']:,} texts in scope, {test['out_of_scope']:,} out of scope, seed {report['seed']}; "
        "intervals by bootstrap over texts.",
        "",
        "| | | in-scope accuracy | 95 % | out-of-scope recall | 95 % | a text | learning, CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scenario, models in report["results"].items():
        for name, r in models.items():
            a, b = r["in_scope_interval"], r["out_of_scope_interval"]
            lines.append(
                f"| {scenario} | {name} | {r['in_scope_accuracy']:.1f} | {a[0]:.1f}-{a[1]:.1f} "
                f"| {r['out_of_scope_recall']:.1f} | {b[0]:.1f}-{b[1]:.1f} "
                f"| {r['read_us'] / 1000:.2f} ms | {r['fit_cpu_s']:.0f} s |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.intents", description=__doc__)
    parser.add_argument("folder", type=Path, help="has a data_full.parquet: split, text, intent")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help="put the table into a document")
    options = parser.parse_args(arguments)
    try:
        parts = load(options.folder)
    except FileNotFoundError as error:
        say(str(error))
        return 2
    lacking = missing()
    if lacking:
        say(f"without vectors, for which these packages are missing: {', '.join(lacking)}")
    report = run(parts, vectors=not lacking, seed=options.seed)
    if options.write_docs:
        documents.put(options.write_docs, "quality-intents", markdown(report))
    print(msgspec.json.encode(report).decode() if options.json else markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
