"""Asking candidate stage and ranker what they would have shown: the ranks that all metrics come from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.learn.candidate_rows import Cases, Progress, no_progress, part_of
from opportune.learn.candidate_stage import CandidateStage
from opportune.learn.ranker_training import DEPTH, Ranks
from opportune.recommend.rank_features import COLUMNS
from opportune.recommend.tree_scorer import TreeScorer, room_for


class Ranked(NamedTuple):
    """Of each case: at which place the item touched next was shown (0: not among the first 20) by the
    candidate stage alone and by each ranker; ``top`` (cases, 20): what the last ranker showed, -1 at the
    end."""

    stage: Ranks
    rankers: tuple[Ranks, ...]
    top: npt.NDArray[np.int32]


def rank_cases(
    stage: CandidateStage,
    cases: Cases,
    scorers: tuple[TreeScorer, ...],
    *,
    live: bool = False,
    progress: Progress = no_progress,
) -> Ranked:
    """Ask every case. ``live``: once a session is over the stage learns it (a prequential evaluation)."""
    alone = np.zeros(len(cases), np.int32)
    ranked = tuple(np.zeros(len(cases), np.int32) for _ in scorers)
    top = np.full((len(cases), DEPTH), -1, np.int32)
    columns = np.zeros((COLUMNS, room_for(stage.count)), np.float32)
    learnt = 0
    for case in range(len(cases)):
        if live and cases.first[case] > learnt:
            stage.update(part_of(cases.touches, learnt, int(cases.first[case])))
            learnt = int(cases.first[case])
        items, _, features = stage.propose(cases.query(case, stage.count))
        target = int(cases.touches.item[cases.at[case]])
        n = len(items)
        alone[case] = _place(items[:DEPTH], target)
        columns[:, :n] = features
        for which, scorer in enumerate(scorers):
            order = np.argsort(-scorer.score(columns)[:n], kind="stable")[:DEPTH]
            top[case, : len(order)] = items[order]
            ranked[which][case] = _place(items[order], target)
        if case % 1000 == 999:
            progress(case + 1, len(cases))
    return Ranked(alone, ranked, top)


def _place(items: npt.NDArray[np.int32], target: int) -> int:
    found = np.flatnonzero(items == target)
    return int(found[0]) + 1 if len(found) else 0
