"""A canary is an experiment: a declared share of people gets its ranking, and a guardrail stops it."""

from __future__ import annotations

import msgspec

from opportune.engine.workspace import Workspace
from opportune.experiments.definitions import Arm, Change, Experiment, Guardrail

CANARY = "canary"
SHARE = 0.05
"""The share of people when none is declared."""


def canary_id(version: str) -> str:
    """The experiment's id: a new version is a new randomization.

    >>> canary_id("r20261122-1")
    'canary_r20261122_1'
    """
    return f"{CANARY}_{version.replace('-', '_')}"


def with_canary(workspace: Workspace, version: str, share: float, *, is_on: bool = True) -> Workspace:
    """The workspace with one more experiment: at every placement, ``share`` of all people are ranked by the
    canary. A guardrail stops it when conversion is surely more than 2 % worse (error 0.01, looked at
    whenever)."""
    experiment = Experiment(
        id=canary_id(version),
        name=f"Canary {version}",
        hypothesis="the new ranker is no worse than the live one",
        status="running" if is_on else "stopped",
        unit="person",
        placements=tuple(placement.name for placement in workspace.placements),
        arms=(Arm("live", 1.0 - share), Arm(CANARY, share, Change(ranker=CANARY))),
        metrics=("conversion", "revenue"),
        guardrails=(Guardrail("conversion", tolerance=0.02),),
    )
    declared = workspace.experiments
    experiments = msgspec.structs.replace(declared, experiments=(*declared.experiments, experiment))
    return msgspec.structs.replace(workspace, experiments=experiments)
