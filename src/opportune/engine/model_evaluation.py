"""Versions that are not rankers, asked about the newest history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from opportune.clock import DAY
from opportune.engine.customers import Customers
from opportune.engine.history import read_history
from opportune.engine.live_models import source_of
from opportune.engine.versions import Versions
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest
from opportune.learn.bundle import CLV, FACTORS, MICROSEGMENTS, SEQUENCE, UPLIFT
from opportune.learn.buying import BuyingModel
from opportune.learn.calibration import calibration
from opportune.learn.candidate_rows import cases_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.lifetimes import evaluate_lifetimes
from opportune.learn.measures import measures
from opportune.learn.propensity import Propensity, PropensityModel
from opportune.learn.ranker_evaluation import rank_cases
from opportune.learn.scores import MODEL
from opportune.learn.training import by_session, newest, part
from opportune.recommend.rank_signals import RankSignals
from opportune.stores.disk import Disk

MOST_CASES = 5_000
MOST_PEOPLE = 20_000


def evaluate_models(
    versions: Versions, names: Sequence[str], disk: Disk, workspace: Workspace, share: float, seed: int
) -> dict[str, dict[str, Any]]:
    """Metrics by version on the same newest history: a source on the last ``share`` of the sessions, a
    propensity on people as they were a horizon ago, lifetime values on the orders of the last quarter. What a
    version learnt from flatters it. Raises :class:`NotFound` and :class:`InvalidRequest`."""
    for name in names:
        versions.registry().state_of(name)
    if versions.kind in (FACTORS, MICROSEGMENTS, SEQUENCE):
        return _sources(versions, names, disk, workspace, share, seed)
    if versions.kind == UPLIFT:
        raise InvalidRequest(
            "an uplift was measured when it was trained, on people it did not learn from",
            seen=", ".join(names),
            remedy="read it with `opportune compare --model uplift`, or train again",
        )
    customers = Customers(disk, workspace)
    if versions.kind == CLV:
        orders = customers.orders()
        return {
            name: evaluate_lifetimes(orders, msgspec.json.decode(_text(versions, name), type=BuyingModel))
            for name in names
        }
    told = {}
    for name in names:
        horizon = round(float(versions.model_info(name).config["horizon_days"]) * DAY)
        past, _ = customers.asked(versions.kind, MOST_PEOPLE, horizon, 1)
        model = Propensity(msgspec.json.decode(_text(versions, name), type=PropensityModel))
        told[name] = calibration(model.read_many(past.rows), past.outcome)
    return told


def _text(versions: Versions, name: str) -> bytes:
    return versions.store.text(name, MODEL).encode()


def _sources(
    versions: Versions, names: Sequence[str], disk: Disk, workspace: Workspace, share: float, seed: int
) -> dict[str, dict[str, Any]]:
    history = read_history(disk, workspace)
    touches = by_session(history.models.log.tail(history.models.log.first))
    session = np.unique(touches.session)
    first = session[max(round(len(session) * (1.0 - share)), 1) :]
    at = int(np.searchsorted(touches.session, first[0])) if len(first) else len(touches)
    cases = newest(cases_of(part(touches, at, len(touches))), MOST_CASES)
    if not len(cases):
        raise InvalidRequest(
            "no session of the last ones has two touches",
            seen=f"{len(first)} sessions",
            remedy="a larger share",
        )
    told = {}
    for name in names:
        source = source_of(versions, name, history.catalog)
        source.fit(part(touches, 0, at))
        stage = CandidateStage([(source, 1.0)], RankSignals(), 100)
        told[name] = measures(rank_cases(stage, cases, ()).stage, cases.session(), seed)
    return told
