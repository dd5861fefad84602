"""Whether a ranker should be trained again: the newest sessions against what the live one was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from opportune.decide.placement import Placement
from opportune.engine.history import History
from opportune.engine.rankers import item_table
from opportune.engine.training import stage_of, teachers_of
from opportune.errors import InvalidRequest
from opportune.learn.bundle import SEQUENCE, Bundle, BundleInfo
from opportune.learn.candidate_rows import candidate_rows, cases_of
from opportune.learn.drift import SCORE, drift
from opportune.learn.training import Pasts, by_session, newest, part, with_pasts
from opportune.recommend.tree_scorer import TreeScorer

SHARE = 0.05
CASES = 500


def drift_of(
    history: History, placement: Placement, live: Bundle, pasts: Pasts | None = None
) -> dict[str, Any]:
    """How far features and scores have moved since the live ranker's training, on the newest cases.

    ``index``: the larger of the score's stability index and the mean over features, weighted by what the
    ranker looks at; ``features`` the ten that moved most. Raises :class:`InvalidRequest` when no session of
    the newest has two touches.
    """
    touches = by_session(history.models.log.tail(history.models.log.first))
    session = np.unique(touches.session)
    at = int(np.searchsorted(touches.session, session[max(round(len(session) * (1 - SHARE)), 1) - 1]))
    cases = newest(cases_of(part(touches, at, len(touches))), CASES)
    if not len(cases):
        raise InvalidRequest("no session of the newest has two touches", seen=len(session), remedy="wait")
    [cases] = with_pasts([cases], [at], touches, pasts)
    teachers = teachers_of(placement, history)
    teachers.pop(SEQUENCE, None)
    if (sequence := live.sequence_source()) is not None:
        teachers[SEQUENCE] = lambda past: sequence
    stage = stage_of(placement, history, teachers)
    stage.fit(part(touches, 0, at))
    stage.items = item_table(history.catalog)._replace(vector=np.array(live.vectors, np.float32))
    rows = candidate_rows(stage, cases)
    score = TreeScorer.from_text(live.trees).score(np.ascontiguousarray(rows.features.T))
    moved = drift(live.info.baselines, rows.features, score)
    importance = live.info.importance
    weighted = sum(moved[name] * importance.get(name, 0.0) for name in moved if name != SCORE)
    of_score = moved.pop(SCORE, 0.0)
    return {
        "version": live.info.version,
        "cases": len(cases),
        "index": round(max(of_score, weighted), 4),
        "score": of_score,
        "features": dict(list(moved.items())[:10]),
    }


def beats(info: BundleInfo) -> tuple[bool, str]:
    """Whether a new version may go live by itself, and why or why not: it must be better than the stage alone
    and, where one is live, than that on the same newest cases, by more than chance (95 %)."""
    ranked, stage = info.metrics["ranked"], info.metrics["stage"]
    if ranked["mrr20"] <= stage["mrr20"]:
        return False, f"MRR@20 {ranked['mrr20']} is no better than the blend's {stage['mrr20']}"
    if not info.rival:
        return True, f"MRR@20 {ranked['mrr20']}, the blend's is {stage['mrr20']}"
    gain = info.rival["difference"]
    low, high = gain["interval"]
    said = f"MRR@20 {gain['mrr20']:+} ({low:+} to {high:+}) against {info.rival['version']}"
    return low > 0, said
