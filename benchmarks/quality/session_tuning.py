"""Choosing the knobs on the last slice of train, the test sessions unseen: coordinate search over a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.quality.session_data import Cases, Sessions, cases
from benchmarks.quality.session_ranks import hit_rate, knn_ranks, reciprocal_rank

from opportune.recommend.session_knn import SessionKnn
from opportune.recommend.session_knn_config import SessionKnnConfig

GRID: dict[str, tuple[float, ...]] = {
    "recent_sessions": (250, 500, 1000, 2000),
    "neighbours": (100, 200, 300, 500),
    "position_decay": (0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0),
    "anchor_decay": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0),
    "match_rarity": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
    "length_power": (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0),
    "after_decay": (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0),
    "before_decay": (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0),
    "before_factor": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "rarity": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
    "echo_items": (0, 3, 5, 7, 9, 12, 16),
    "echo_sessions": (125, 250, 500),
    "echo_neighbours": (25, 50, 75, 100, 200, 300),
    "echo_weight": (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
    "seen": (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
    "seen_last": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
    "revisit": (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15),
    "revisit_decay": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "revisit_power": (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0),
}
HALF_LIVES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)
"""Recency half-lives tried, as shares of the history."""
_AT_MOST = (
    ("neighbours", "recent_sessions"),
    ("echo_sessions", "recent_sessions"),
    ("echo_neighbours", "echo_sessions"),
)
Report = Callable[[str], None]


class Tuned(NamedTuple):
    config: SessionKnnConfig
    hit_rate: float
    reciprocal_rank: float
    evaluations: int


def sized(config: SessionKnnConfig, clicks: int, items: int) -> SessionKnnConfig:
    """The same knobs with room for exactly this history."""
    return msgspec.structs.replace(
        config,
        capacity_clicks=1 << max(clicks - 1, 1).bit_length(),
        capacity_items=max(items, 1),
    )


def objective(hit: float, reciprocal: float) -> float:
    """Hit rate, and mean reciprocal rank at about the same relative weight."""
    return hit + 2.0 * reciprocal


def tune(
    train: Sessions, items: int, *, evaluations: int, share: float, sampled: int, seed: int, report: Report
) -> Tuned:
    """Fit on all but the last ``share`` of the sessions, search on ``sampled`` sessions of the rest.

    Each round visits the knobs in random order and tries the neighbouring grid values of each, keeping what
    helps, until ``evaluations`` are used up or a whole round changed nothing.
    """
    cut = int(len(train) * (1.0 - share))
    history, asked = train.slice(0, cut), cases(train.slice(cut, len(train)).sample(sampled, seed))
    return search(history, asked, items, evaluations=evaluations, seed=seed, report=report)


def search(
    history: Sessions, asked: Cases, items: int, *, evaluations: int, seed: int, report: Report
) -> Tuned:
    clicks = len(history.item)
    grid = dict(GRID, recency_half_life=tuple(clicks * share for share in HALF_LIVES))
    fitted = SessionKnn(sized(SessionKnnConfig(), clicks, items))
    fitted.fit(history.interactions())
    rng = np.random.default_rng(seed)
    known: dict[SessionKnnConfig, tuple[float, float]] = {}

    def measure(config: SessionKnnConfig) -> float:
        if config not in known:
            ranks = knn_ranks(fitted.with_config(config), asked)
            known[config] = (hit_rate(ranks), reciprocal_rank(ranks))
            if len(known) % 10 == 0:
                report(f"tuning: {len(known)} of {evaluations}, best {100 * top:.3f}")
        return objective(*known[config])

    best, top = fitted.config, 0.0
    top = measure(best)
    improved = True
    while improved and len(known) < evaluations:
        improved = False
        for knob in rng.permutation(list(grid)):
            for direction in (1, -1):
                while len(known) < evaluations:
                    step = _neighbour(best, str(knob), grid[knob], direction)
                    if step is None or measure(step) <= top + 1e-6:
                        break
                    best, top, improved = step, measure(step), True
    return Tuned(best, *known[best], evaluations=len(known))


def _neighbour(
    config: SessionKnnConfig, knob: str, values: tuple[float, ...], direction: int
) -> SessionKnnConfig | None:
    """The configuration with ``knob`` one grid step up or down; None at the end of the grid. Sizes that may
    not exceed it follow."""
    now = getattr(config, knob)
    nearest = min(range(len(values)), key=lambda i: abs(values[i] - now))
    there = nearest + direction
    if not 0 <= there < len(values):
        return None
    value = values[there]
    knobs = {
        name: getattr(config, name)
        for name in ("recent_sessions", "neighbours", "echo_sessions", "echo_neighbours")
    }
    knobs[knob] = int(value) if isinstance(now, int) else value
    if knob == "neighbours":
        knobs["recent_sessions"] = max(knobs["recent_sessions"], knobs["neighbours"])
    for smaller, larger in _AT_MOST:
        knobs[smaller] = min(knobs[smaller], knobs[larger])
    return msgspec.structs.replace(config, **knobs)
