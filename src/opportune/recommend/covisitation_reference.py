"""Co-visitation, readable: the reference that ``covisitation_kernel.py`` is held to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from opportune.recommend.covisitation import CoVisitationConfig
from opportune.recommend.covisitation_kernel import WINDOW
from opportune.recommend.leaderboard import MOST_AHEAD_MS
from opportune.recommend.source import Interactions


@dataclass
class ReadablePairs:
    """Rows are dicts in order of arrival; ``recent`` is newest first: (item, strongest kind)."""

    config: CoVisitationConfig
    row: dict[int, dict[int, np.float32]] = field(default_factory=dict)
    touches: dict[int, float] = field(default_factory=dict)
    recent: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    landmark: int | None = None
    newest: int = 0

    def count(self, interactions: Interactions) -> None:
        columns = (interactions.session, interactions.item, interactions.kind, interactions.time)
        for session, item, kind, time in zip(*(column.tolist() for column in columns), strict=True):
            self.touch(session, item, kind, time)

    def touch(self, session: int, item: int, kind: int, time: int) -> None:
        config = self.config
        if self.landmark is None:
            self.landmark = self.newest = time
        moment = min(time, self.newest + MOST_AHEAD_MS)
        self.newest = max(self.newest, moment)
        gain = math.exp((moment - self.landmark) / config.half_life_ms * math.log(2.0))
        self.touches[item] = self.touches.get(item, 0.0) + gain
        recent = self.recent.setdefault(session, [])
        known = dict(recent).get(item, -1)
        if kind > known:
            others = [(other, earlier) for other, earlier in recent if other != item]
            for gap, (other, earlier) in enumerate(others):
                part = gain * config.pair_weight[earlier][kind] * config.gap_decay**gap
                self.add(other, item, part)
                self.add(item, other, part * config.backward)
        rest = [entry for entry in recent if entry[0] != item]
        self.recent[session] = [(item, max(kind, known)), *rest][:WINDOW]

    def add(self, of: int, item: int, part: float) -> None:
        row = self.row.setdefault(of, {})
        if item in row:
            row[item] += np.float32(part)
        elif len(row) < self.config.neighbours:
            row[item] = np.float32(part)
        else:
            weakest = min(row, key=lambda other: row[other])
            if row[weakest] >= np.float32(part):
                row[weakest] -= np.float32(part)
            else:  # the newcomer takes the very place of the weakest
                self.row[of] = {
                    (item if other == weakest else other): (np.float32(part) if other == weakest else weight)
                    for other, weight in row.items()
                }

    def ask(self, session: list[int], open_item: int = -1) -> dict[int, float]:
        """Scores of all neighbours of the session's last distinct items and of the open item."""
        config = self.config
        asked: dict[int, float] = {}
        for item in reversed(session):
            if len(asked) < config.last_items and item >= 0:
                asked.setdefault(item, config.position_decay ** len(asked))
        if open_item >= 0:
            asked[open_item] = config.open_item_weight
        score: dict[int, float] = {}
        for item, weight in asked.items():
            for other, pair in self.row.get(item, {}).items():
                norm = (self.touches[item] * self.touches[other]) ** config.popularity_power
                score[other] = score.get(other, 0.0) + weight * float(pair) / norm
        return score
