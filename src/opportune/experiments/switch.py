"""Experiments stopped while they run, by a guardrail or a person: entries of the journal, folded."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from opportune.clock import Millis
from opportune.experiments.definitions import Experiment, Experiments


class Switch(msgspec.Struct, array_like=True, tag="s", frozen=True):
    """An experiment was stopped, or resumed; ``why`` is a sentence for people."""

    experiment: str
    action: Literal["stop", "resume"]
    why: str
    time: Millis


class Switches(msgspec.Struct, array_like=True):
    """The last word on every experiment by journal order. ``offset`` is the last entry folded in."""

    last: dict[str, Switch] = {}
    offset: int = 0

    def fold(self, switch: Switch, seq: int) -> None:
        if seq > self.offset:
            self.offset = seq
            self.last[switch.experiment] = switch

    @property
    def stopped(self) -> frozenset[str]:
        return frozenset(e for e, switch in self.last.items() if switch.action == "stop")


def listed(experiments: Experiments, switches: Switches) -> list[dict[str, Any]]:
    """Every experiment as it is declared and as it stands, the holdout among them."""
    return [_row(e, switches.last.get(e.id)) for e in experiments.with_holdout()]


def _row(experiment: Experiment, switch: Switch | None) -> dict[str, Any]:
    stopped = switch if switch is not None and switch.action == "stop" else None
    return {
        "id": experiment.id,
        "name": experiment.name or experiment.id,
        "hypothesis": experiment.hypothesis,
        "status": "stopped" if stopped else "shipped" if experiment.ship else experiment.status,
        "why": stopped.why if stopped else "",
        "since": stopped.time if stopped else experiment.start_ms,
        "unit": experiment.unit,
        "bandit": experiment.bandit is not None,
        "placements": list(experiment.placements),
        "coverage": experiment.coverage,
        "arms": {arm.id: arm.weight for arm in experiment.variants()},
        "metrics": list(experiment.metrics),
    }
