"""Every model of a data folder as pages show it: versions, states, what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opportune.engine.rankers import Rankers
from opportune.engine.versions import Versions
from opportune.learn.bundle import MODELS, RANKER
from opportune.learn.drift import SCORE
from opportune.learn.side_by_side import SideBySide

MOST = 20
"""The newest versions of each kind that are listed."""
_LONG = frozenset({"bins", "alone", "clusters"})


def model_list(data_dir: Path | str, current: SideBySide | None = None) -> list[dict[str, Any]]:
    """Kinds that have a version, each with its newest ones, newest first. ``current``: what the shadow that
    runs has found so far."""
    found = []
    for kind in MODELS:
        versions = Rankers(data_dir) if kind == RANKER else Versions(data_dir, kind)
        registry = versions.registry()
        states = registry.states()
        if states:
            listed = list(states.items())[-MOST:][::-1]
            shares = registry.canaries()
            told = [
                {**_version(versions, version, state, shares, current), "note": registry.note_of(version)}
                for version, state in listed
            ]
            found.append({"kind": kind, "live": registry.live, "versions": told})
    return found


def _version(
    versions: Versions, version: str, state: str, shares: dict[str, float], current: SideBySide | None
) -> dict[str, Any]:
    told: dict[str, Any] = {"version": version, "state": state}
    if not isinstance(versions, Rankers):
        info = versions.model_info(version)
        numbers = {**info.metrics, **info.metrics.get("alone", {})}
        measured = {name: value for name, value in numbers.items() if name not in _LONG}
        return {**told, "created": info.created, "rows": info.rows, "measured": measured, "shadow": None}
    ranker = versions.info(version)
    both = {f"{name} {key}": told[key] for name, told in ranker.metrics.items() for key in ("hr20", "mrr20")}
    beside = current if current is not None and current.version == version else versions.comparison(version)
    return {
        **told,
        **({"share": shares[version]} if state == "canary" else {}),
        "created": ranker.created,
        "rows": ranker.cases,
        "measured": both,
        "shadow": None if beside is None else beside.summary(ranker.baselines.get(SCORE)),
    }
