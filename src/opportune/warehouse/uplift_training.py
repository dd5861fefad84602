"""Train an uplift from an experiment of a data folder and keep it as a version."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from opportune.clock import Millis
from opportune.engine.model_training import Made, kept
from opportune.engine.versions import Versions
from opportune.engine.workspace import Workspace
from opportune.learn.bundle import ModelInfo
from opportune.learn.scores import MODEL
from opportune.learn.uplift import train_uplift
from opportune.warehouse.trials import Past, treatment, trial_rows


class UpliftTraining(NamedTuple):
    """``metric`` and ``arm`` may be left out: the experiment's first metric, its only treatment.
    ``worthwhile`` is the effect, in the metric's unit, that pays for treating somebody."""

    experiment: str
    metric: str = ""
    arm: str = ""
    worthwhile: float = 0.0
    seed: int = 1
    threads: int = 1


def train_uplift_version(
    versions: Versions, past: Past, workspace: Workspace, now: Millis, config: UpliftTraining
) -> ModelInfo:
    """Raises :class:`NotFound` for unknown names, :class:`InvalidRequest` and :class:`InvalidDefinition`
    where the experiment cannot teach it."""
    started = time.perf_counter()
    experiment = workspace.experiments.get(config.experiment)
    metric = workspace.metrics.get(config.metric or experiment.metrics[0])
    arm = treatment(experiment, config.arm)
    trial = trial_rows(past, workspace, experiment, metric, arm, now)
    model, metrics = train_uplift(
        trial.rows,
        trial.treated,
        trial.outcome,
        worthwhile=config.worthwhile,
        seed=config.seed,
        threads=config.threads,
    )
    made = Made(
        metrics,
        model.rows,
        trial.window,
        trial.offsets,
        {MODEL: msgspec.json.encode(model).decode()},
        {},
        {
            "experiment": experiment.id,
            "control": experiment.control,
            "arm": arm,
            "metric": metric.id,
            "learner": model.learner,
            "worthwhile": config.worthwhile,
            "seed": config.seed,
        },
    )
    return kept(versions, made, workspace, now, time.perf_counter() - started)
