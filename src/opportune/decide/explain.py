"""A decision explained to the engineer: who proposed, what was removed and why, where the time went."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.decide.request import DecisionRecord


def explain(record: DecisionRecord) -> dict[str, Any]:
    """The explanation as plain JSON, from the record alone, so that it is the same a year later."""
    shown = record.shown
    return {
        "placement": record.placement,
        "sources": {
            "proposed": record.inputs.get("by_source", {}),
            "shown": _by_source(record, 0, shown),
        },
        "candidates": [_candidate(record, i) for i in range(len(record.candidates))],
        "removed": [
            {"by": why, "count": count, "examples": _examples(record, why)}
            for why, count in sorted(record.removed.items(), key=lambda entry: (-entry[1], entry[0]))
        ],
        "objective": record.inputs.get("objective", {}),
        "rules": [{"rule": rule, "count": count} for rule, count in record.inputs.get("boosted", {}).items()],
        "session": [
            {"item_id": item_id, "kind": _KINDS.get(kind, str(kind)), "age_s": age / 1000}
            for item_id, kind, age in zip(
                record.inputs.get("session", ()),
                record.inputs.get("kinds", b""),
                record.inputs.get("ages_ms", ()),
                strict=True,
            )
        ],
        "waterfall": _waterfall(record.took_ms),
        "degraded": record.degraded,
        "experiments": [msgspec.structs.asdict(assignment) for assignment in record.assignments],
        "versions": record.versions,
        "features": record.features,
        "likely": None if record.likely is None else record.likely.to_dict(),
    }


_KINDS = {0: "view", 1: "cart", 2: "buy"}


def names_of(bits: int, names: tuple[str, ...]) -> list[str]:
    """The sources behind a bitmask.

    >>> names_of(0b101, ("session_knn", "content", "popular"))
    ['session_knn', 'popular']
    """
    return [name for bit, name in enumerate(names) if bits >> bit & 1]


def _examples(record: DecisionRecord, why: str) -> list[str]:
    for named in (record.inputs.get("examples", {}), record.inputs.get("hidden", {})):
        if why in named:
            return list(named[why][:5])
    return []


def _candidate(record: DecisionRecord, i: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "item_id": record.candidates[i],
        "score": record.scores[i],
        "sources": names_of(record.sources[i], record.source_names),
        "shown_at": i + 1 if i < record.shown else None,
    }
    foretold = {
        name: chance[i] for name, chance in record.inputs.get("foretold", {}).items() if i < len(chance)
    }
    if foretold:
        entry["foretold"] = foretold
    if record.because[i]:
        entry["because"] = record.because[i]
    return entry


def _by_source(record: DecisionRecord, start: int, end: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for bits in record.sources[start:end]:
        for name in names_of(bits, record.source_names):
            counts[name] = counts.get(name, 0) + 1
    return counts


def _waterfall(took_ms: dict[str, float]) -> list[dict[str, Any]]:
    """Stages in the order they ran, each with when it began; single sources lie within ``candidates``."""
    steps: list[dict[str, Any]] = []
    at = 0.0
    for stage, ms in took_ms.items():
        if stage == "total":
            continue
        if "." in stage:
            steps.append({"stage": stage, "ms": ms, "within": stage.partition(".")[0]})
        else:
            steps.append({"stage": stage, "start_ms": round(at, 3), "ms": ms})
            at += ms
    return steps
