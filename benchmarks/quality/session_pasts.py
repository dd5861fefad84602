"""The earlier visits of the people behind sessions, where a table has people and times: read by the function
that decisions and training read them by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from benchmarks.quality.session_data import Sessions

from opportune.learn.candidate_rows import Cases
from opportune.profiles.history import HISTORY, history_before
from opportune.profiles.leaf import MAX_TOUCHES, Touch
from opportune.recommend.past import NO_PAST, Past, past_of


def pasts_of(history: Sequence[Sessions], asked: Sessions, cases: Cases) -> Sequence[Past] | None:
    """Of each case (of ``asked``, in order) what its person did in the sessions of ``history`` before, as of
    the last touch that the case knows; None where nobody knows people or times. A profile remembers so many
    touches, those of the session included."""
    if asked.person is None or asked.time is None:
        return None
    wanted = set(asked.person.tolist())
    touches: dict[int, list[Touch]] = defaultdict(list)
    for part in history:
        if part.person is None or part.time is None:
            return None
        owner = np.repeat(part.person, np.diff(part.start)).tolist()
        for person, time, item in zip(owner, part.time.tolist(), part.item.tolist(), strict=True):
            if person in wanted:
                touches[person].append(Touch(time, str(item), "view"))
    for mine in touches.values():
        mine.sort()
    found = []
    for session, first, at in zip(
        cases.touches.session[cases.at].tolist(), cases.first.tolist(), cases.at.tolist(), strict=True
    ):
        mine = touches.get(int(asked.person[session]), [])
        room = MAX_TOUCHES - (at - first)
        if not mine or room <= 0:
            found.append(NO_PAST)
            continue
        before, now = int(asked.time[first]), int(asked.time[at - 1])
        past = history_before([t for t in mine if t.time < before][-room:], {}, {}, before)
        found.append(past_of({HISTORY: past}, int, now))
    return found
