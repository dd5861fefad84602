"""What the candidate stage answers to past sessions, with every feature of every candidate.

A case is a prefix of a session and the item that was touched next. The ranker is to learn from exactly what
it will be asked to rank: *all* candidates of the first stage are kept. (Ten random negatives a case instead
made no difference beyond noise on Diginetica; what biased negatives do was not worth finding out.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.learn.candidate_stage import CandidateStage
from opportune.recommend.past import NO_PAST, Past
from opportune.recommend.rank_features import COLUMNS
from opportune.recommend.session_knn_config import MAX_SESSION
from opportune.recommend.source import Interactions, Query

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]


class Cases(msgspec.Struct, frozen=True):
    """Touches of whole sessions one after another, in order of the sessions' beginning; case ``c`` asks for
    ``touches.item[at[c]]`` when ``touches[first[c]:at[c]]`` is the session so far. ``timed``: whether times
    mean anything. ``past``: the earlier visits of the person of each case, as they were known then; None
    where nobody asked."""

    touches: Interactions
    first: Longs
    at: Longs
    timed: bool = True
    past: Sequence[Past] | None = None

    def __len__(self) -> int:
        return len(self.at)

    def session(self) -> Longs:
        """The number of each case's session."""
        return self.touches.session[self.at]

    def query(self, case: int, count: int) -> Query:
        first, at = max(int(self.first[case]), int(self.at[case]) - MAX_SESSION), int(self.at[case])
        touches = self.touches
        now = int(touches.time[at])
        age = (now - touches.time[first:at]).astype(np.float32) / np.float32(1000)
        if not self.timed:
            age = np.full(at - first, np.nan, np.float32)
        past = NO_PAST if self.past is None else self.past[case]
        return Query(touches.item[first:at], touches.kind[first:at], age, now=now, count=count, past=past)


def cases_of(touches: Interactions, *, timed: bool = True) -> Cases:
    """Every touch but the first of each session; ``touches`` has whole sessions one after another."""
    edge = np.ones(len(touches), np.bool_)
    edge[1:] = touches.session[1:] != touches.session[:-1]
    first = np.maximum.accumulate(np.where(edge, np.arange(len(touches)), 0))
    at = np.flatnonzero(~edge)
    return Cases(touches, first[at], at, timed)


class Rows(msgspec.Struct, frozen=True):
    """Candidates of all cases one after another, in the order of the first stage: case ``c`` has rows
    ``start[c]`` to ``start[c + 1]``. ``features`` (rows, COLUMNS); ``item``; ``hit`` says which one was
    touched next."""

    features: Floats
    item: npt.NDArray[np.int32]
    hit: npt.NDArray[np.bool_]
    start: Longs

    def __len__(self) -> int:
        return len(self.item)


def no_progress(done: int, of: int) -> None:
    return None


def candidate_rows(
    stage: CandidateStage, cases: Cases, *, live: bool = False, progress: Progress = no_progress
) -> Rows:
    """Ask every case. About 0.4 ms and ``count`` * 220 bytes a case.

    ``live``: once a session is over the stage learns it, as it does in production (a prequential
    evaluation).
    """
    features = np.empty((len(cases) * stage.count, COLUMNS), np.float32)
    item = np.empty(len(features), np.int32)
    start = np.zeros(len(cases) + 1, np.int64)
    end = 0
    learnt = 0
    for case in range(len(cases)):
        if live and cases.first[case] > learnt:
            stage.update(part_of(cases.touches, learnt, int(cases.first[case])))
            learnt = int(cases.first[case])
        found, _, columns = stage.propose(cases.query(case, stage.count))
        n = len(found)
        features[end : end + n] = columns.T
        item[end : end + n] = found
        end += n
        start[case + 1] = end
        if case % 1000 == 999:
            progress(case + 1, len(cases))
    progress(len(cases), len(cases))
    target = np.repeat(cases.touches.item[cases.at], np.diff(start))
    return Rows(features[:end], item[:end], item[:end] == target, start)


def part_of(rows: Interactions, first: int, last: int) -> Interactions:
    return Interactions(*(getattr(rows, name)[first:last] for name in msgspec.structs.asdict(rows)))
