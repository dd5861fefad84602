"""Lists that people were really shown, and what they clicked: rows with the place that each item had."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.learn.candidate_rows import Progress, Rows, no_progress
from opportune.learn.candidate_stage import CandidateStage
from opportune.recommend.past import NO_PAST, Past
from opportune.recommend.rank_features import COLUMNS
from opportune.recommend.source import Query

FEWEST = 100
"""Shown lists with a click without which nothing is learnt from them."""


class Shown(msgspec.Struct, frozen=True, gc=False):
    """One decision: the session when it was made (item numbers, kinds, ages in seconds), the items shown in
    order, and which of them were clicked; ``past`` the earlier visits that the decision read, if it did."""

    time: Millis
    session: tuple[int, ...]
    kind: tuple[int, ...]
    age_s: tuple[float, ...]
    items: tuple[int, ...]
    clicked: frozenset[int]
    past: Past = NO_PAST


def impression_rows(
    stage: CandidateStage, shown: Sequence[Shown], *, progress: Progress = no_progress
) -> tuple[Rows, npt.NDArray[np.int32]]:
    """A case per list with a click, with the features that the stage gives its items now, and the place of
    each row in its list, from 0. Items that the stage no longer proposes have no features and are left out.
    About 0.4 ms a list."""
    features, items, hits, places = [], [], [], []
    start = [0]
    for done, one in enumerate(shown):
        query = Query(
            np.array(one.session, np.int32),
            np.array(one.kind, np.int8),
            np.array(one.age_s, np.float32),
            now=one.time,
            count=stage.count,
            past=one.past,
        )
        found, _, columns = stage.propose(query)
        at = {int(item): row for row, item in enumerate(found)}
        kept = [(place, item) for place, item in enumerate(one.items) if item in at]
        if len(kept) > 1 and any(item in one.clicked for _, item in kept):
            features.append(columns[:, [at[item] for _, item in kept]].T.copy())
            items += [item for _, item in kept]
            hits += [item in one.clicked for _, item in kept]
            places += [place for place, _ in kept]
            start.append(len(items))
        if done % 1000 == 999:
            progress(done + 1, len(shown))
    progress(len(shown), len(shown))
    table = np.concatenate(features) if features else np.zeros((0, COLUMNS), np.float32)
    rows = Rows(table, np.array(items, np.int32), np.array(hits, np.bool_), np.array(start, np.int64))
    return rows, np.array(places, np.int32)
