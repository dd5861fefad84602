"""Train what is not a ranker from a data folder: candidate sources, propensities, lifetime values."""

from __future__ import annotations

import time
from importlib.metadata import version as version_of_package
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.clock import DAY, Millis
from opportune.engine.customers import Customers
from opportune.engine.history import History, numbering_digest, read_history
from opportune.engine.versions import Versions, new_version
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest
from opportune.learn.bundle import BUY, CHURN, CLV, FACTORS, MICROSEGMENTS, SEQUENCE, UPLIFT, ModelInfo
from opportune.learn.calibration import calibration
from opportune.learn.candidate_rows import cases_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.factors import train_factors
from opportune.learn.lifetimes import train_lifetimes
from opportune.learn.measures import measures
from opportune.learn.microsegments import train_microsegments
from opportune.learn.propensity import Propensity, PropensityConfig, train_propensity
from opportune.learn.ranker_evaluation import rank_cases
from opportune.learn.scores import MODEL, SPENDING
from opportune.learn.sequence_training import SequenceConfig, train_sequence
from opportune.learn.training import by_session, newest, part
from opportune.recommend.factors import Factors
from opportune.recommend.microsegments import Microsegments
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.sequence import SequenceSource
from opportune.recommend.source import CandidateSource, Interactions
from opportune.stores.disk import Disk

ASKED = 5
"""Times at which people are looked at; the newest measures."""
HELD_OUT = 0.1
MOST_CASES = 5_000


class Training(NamedTuple):
    """``most_people`` bounds the memory that propensities take; ``dimensions`` and ``segments`` are those of
    factors, microsegments and the sequence model."""

    seed: int = 1
    horizon: Millis = 0
    most_people: int = 20_000
    dimensions: int = 64
    segments: int = 64
    rounds: int = 300


class Made(NamedTuple):
    """What training came to: ``texts`` and ``arrays`` are the parts that are served."""

    metrics: dict[str, Any]
    rows: int
    window: tuple[Millis, Millis]
    offsets: tuple[int, int]
    texts: dict[str, str]
    arrays: dict[str, npt.NDArray[Any]]
    config: dict[str, Any]


def train_model(
    versions: Versions, disk: Disk, workspace: Workspace, now: Millis, config: Training
) -> ModelInfo:
    """Train a version of this kind and keep it as a candidate. Raises :class:`InvalidRequest` and
    :class:`InvalidDefinition` where there is too little to learn from."""
    started = time.perf_counter()
    kind = versions.kind
    if kind in (FACTORS, MICROSEGMENTS, SEQUENCE):
        made = _items(kind, read_history(disk, workspace), config)
    else:
        made = _people(kind, disk, workspace, config)
    return kept(versions, made, workspace, now, time.perf_counter() - started)


def kept(versions: Versions, made: Made, workspace: Workspace, now: Millis, seconds: float) -> ModelInfo:
    """A new version of this kind, as a candidate."""
    registry = versions.registry()
    info = ModelInfo(
        model=versions.kind,
        version=new_version(registry, now, versions.kind[0]),
        created=now,
        code_version=version_of_package("opportune"),
        definitions=workspace.revision,
        offsets=made.offsets,
        window=made.window,
        metrics=made.metrics,
        config=made.config,
        rows=made.rows,
        trained_from=registry.live or "",
        seconds=round(seconds, 1),
    )
    versions.keep(info.version, msgspec.json.encode(info), made.texts, made.arrays, now)
    return info


def pays(info: ModelInfo) -> bool:
    """Whether the version was better on held-out data than what would be there without it: a propensity than
    the base rate, lifetime values than everybody's average, an uplift than treating everybody alike, a source
    than proposing nothing."""
    told = info.metrics
    if info.model in (BUY, CHURN):
        return bool(told["log_loss"] < told["log_loss_of_base_rate"])
    if info.model == CLV:
        return bool(told.get("mean_error", 1.0) < told.get("mean_error_of_the_average", 0.0))
    if info.model == UPLIFT:
        return bool({"persuadable", "sleeping dog"} & told["audiences"].keys() and len(told["audiences"]) > 1)
    return bool(told["alone"].get("hr20", 0.0) > 0.0)


def _items(kind: str, history: History, config: Training) -> Made:
    """Trained on the earlier sessions and asked about the last ones; what is kept has learnt all."""
    touches = by_session(history.models.log.tail(history.models.log.first))
    items = len(history.catalog)
    session = np.unique(touches.session)
    if len(session) < 20:
        raise InvalidRequest("too little history", seen=f"{len(session)} sessions", remedy="import more")
    cut = int(np.searchsorted(touches.session, session[round(len(session) * (1 - HELD_OUT))]))
    source, _, _ = fitted(kind, part(touches, 0, cut), items, config)
    cases = newest(cases_of(part(touches, cut, len(touches))), MOST_CASES)
    stage = CandidateStage([(source, 1.0)], RankSignals(), 100)
    told = measures(rank_cases(stage, cases, ()).stage, cases.session(), config.seed)
    _, arrays, metrics = fitted(kind, touches, items, config)
    return Made(
        {"alone": told, **metrics},
        len(touches),
        (int(touches.time.min()), int(touches.time.max())),
        history.offsets,
        {},
        arrays,
        {
            "seed": config.seed,
            "items": items,
            "catalogue": numbering_digest(history.catalog, items),
            "dimensions": config.dimensions,
        },
    )


def fitted(
    kind: str, touches: Interactions, items: int, config: Training
) -> tuple[CandidateSource, dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Factors, microsegments or the sequence model of a history: the source, its arrays, its own metrics."""
    if kind == FACTORS:
        model = train_factors(touches, items, dimensions=config.dimensions, seed=config.seed)
        return (
            Factors(model),
            {"vectors": model.vectors, "knobs": np.array([model.ridge, *model.weight])},
            {},
        )
    if kind == SEQUENCE:
        knobs = SequenceConfig(dimensions=config.dimensions, seed=config.seed)
        sequence = train_sequence(touches, items, knobs)
        return SequenceSource(sequence), sequence.arrays(), {}
    segments, metrics = train_microsegments(
        touches, items, segments=config.segments, dimensions=min(config.dimensions, 32), seed=config.seed
    )
    return Microsegments(segments), dict(msgspec.structs.asdict(segments)), {"clusters": metrics}


def _people(kind: str, disk: Disk, workspace: Workspace, config: Training) -> Made:
    customers = Customers(disk, workspace)
    if kind == CLV:
        orders = customers.orders()
        buying, spending, metrics = train_lifetimes(orders)
        texts = {MODEL: buying, SPENDING: spending}
        return Made(
            metrics,
            len(orders.time),
            (int(orders.time.min()), int(orders.time.max())),
            customers.offsets,
            {name: msgspec.json.encode(model).decode() for name, model in texts.items()},
            {},
            {"held_out": 0.25},
        )
    horizon = config.horizon or (7 * DAY if kind == BUY else 30 * DAY)
    past, newest_ask = customers.asked(kind, config.most_people, horizon, ASKED)
    cut = past.time.index(newest_ask)
    boost = PropensityConfig(seed=config.seed, rounds=config.rounds)
    tried = Propensity(train_propensity(past.rows[:cut], past.outcome[:cut], config=boost))
    metrics = calibration(tried.read_many(past.rows[cut:]), past.outcome[cut:])
    model = train_propensity(past.rows, past.outcome, config=boost)
    return Made(
        metrics,
        len(past.rows),
        customers.window,
        customers.offsets,
        {MODEL: msgspec.json.encode(model).decode()},
        {},
        {"seed": config.seed, "horizon_days": horizon / DAY, "people": len(set(past.leaf))},
    )
