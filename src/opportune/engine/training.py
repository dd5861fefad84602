"""Train a ranker from a data folder's history, as the decisions of one placement would use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as version_of_package

import msgspec

from opportune.clock import Millis
from opportune.decide.placement import Placement
from opportune.engine.history import History, numbering_digest
from opportune.engine.model_training import Training, fitted
from opportune.engine.models import Models
from opportune.engine.rankers import item_table
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest
from opportune.learn.bundle import FACTORS, MICROSEGMENTS, RANKER, SEQUENCE, Bundle, BundleInfo
from opportune.learn.candidate_rows import Progress, no_progress
from opportune.learn.candidate_stage import CandidateStage, Teacher
from opportune.learn.impressions import Shown
from opportune.learn.ranker_training import RankerConfig
from opportune.learn.training import Pasts, Rival, Slices, train_ranker
from opportune.recommend.rank_features import FEATURES
from opportune.recommend.rank_signals import RankSignals
from opportune.recommend.replaceable import Replaceable
from opportune.recommend.source import Interactions


def teachers_of(
    placement: Placement, history: History, *, sequence: bool = False, seed: int = 1
) -> dict[str, Teacher]:
    """How the placement's sources that are trained apart are trained on a part of the history. With
    ``sequence`` the sequence model too, where it is no source: its opinion is a feature."""
    items, knobs = len(history.catalog), Training(seed=seed)
    named = {one.source for one in placement.sources} | ({SEQUENCE} if sequence else set())

    def teacher(kind: str) -> Teacher:
        return lambda past: fitted(kind, past, items, knobs)[0]

    return {kind: teacher(kind) for kind in (FACTORS, MICROSEGMENTS, SEQUENCE) if kind in named}


def stage_of(placement: Placement, history: History, teachers: Mapping[str, Teacher]) -> CandidateStage:
    """The candidate stage of a placement with fresh sources, those that are trained apart included where
    there is a teacher; what is known of the catalogue stays."""
    models = Models(history.catalog)
    known = {
        **history.models.sources,
        **models.sources,
        "content": history.models.content,
        **{kind: Replaceable(kind, "") for kind in (FACTORS, MICROSEGMENTS, SEQUENCE)},
    }
    sources = [
        (known[one.source], float(one.weight))
        for one in placement.sources
        if one.source in known and (one.source in teachers or not isinstance(known[one.source], Replaceable))
    ]
    if not sources:
        raise InvalidRequest(
            "the placement has no candidate source that learns",
            seen=placement.name,
            remedy="name another one with --placement",
        )
    return CandidateStage(sources, RankSignals(), placement.pool, teachers)


def train_bundle(
    history: History,
    workspace: Workspace,
    placement: Placement,
    version: str,
    now: Millis,
    *,
    config: RankerConfig,
    slices: Slices,
    shown: Sequence[Shown] | None = None,
    outcomes: bool = False,
    ablation: bool = False,
    rival: Bundle | None = None,
    sequence: bool = False,
    known: Callable[[Interactions], frozenset[int]] | None = None,
    pasts: Pasts | None = None,
    threads: int,
    trained_from: str = "",
    progress: Callable[[str], Progress] = lambda step: no_progress,
) -> Bundle:
    """A new version. ``sequence``: train a sequence model on what is before the cases, and let its opinion be
    a feature, also where the placement does not name it as a source. Raises :class:`InvalidRequest` when
    there is too little history."""
    started = time.perf_counter()
    teachers = teachers_of(placement, history, sequence=sequence, seed=config.seed)
    stage = stage_of(placement, history, teachers)
    log, items = history.models.log, len(history.catalog)
    touches = log.tail(log.first)
    trained = train_ranker(
        stage,
        touches,
        item_table(history.catalog),
        items,
        config,
        slices,
        outcomes=outcomes or bool(placement.objective),
        ablation=ablation,
        rival=None
        if rival is None
        else Rival(rival.info.version, rival.trees, rival.vectors, rival.sequence_source()),
        shown=shown,
        known=known,
        pasts=pasts,
        threads=threads,
        progress=progress,
    )
    report = trained.report
    info = BundleInfo(
        model=RANKER,
        version=version,
        created=now,
        code_version=version_of_package("opportune"),
        definitions=workspace.revision,
        offsets=history.offsets,
        window=(int(touches.time.min()), int(touches.time.max())),
        items=items,
        catalogue=numbering_digest(history.catalog, items),
        sources={one.source: float(one.weight) for one in placement.sources if one.source in stage.names},
        candidates=placement.pool,
        features=list(FEATURES),
        config={
            **msgspec.structs.asdict(config),
            "learnt_from": "sessions" if shown is None else "impressions",
            "slices": msgspec.structs.asdict(slices),
        },
        trees=trained.size,
        cases=trained.cases,
        metrics=report["metrics"],
        segments=report["segments"],
        importance=report["importance"],
        ablation=report["ablation"],
        rival=report["rival"],
        outcomes=report["outcomes"],
        baselines=trained.baselines,
        sequence=trained.sequence is not None,
        trained_from=trained_from,
        seconds=round(time.perf_counter() - started, 1),
    )
    arrays = {} if trained.sequence is None else trained.sequence.model.arrays()
    return Bundle(info, trained.trees, trained.vectors, trained.outcomes, arrays)
