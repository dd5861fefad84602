"""What each group of features is worth: trained again without it, asked the same held-out cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from opportune.learn.candidate_rows import Cases, Progress, Rows, no_progress
from opportune.learn.measures import difference
from opportune.learn.ranker_training import RankerConfig, lightgbm_module, ranks_of, train_trees
from opportune.recommend.rank_features import CONTEXT, FEATURES, SOURCES

TREES = 50
_PARTS = {
    "popularity and trend": ("touches_", "trend_", "idle", "age", "return_rate"),
    "returns within the session": ("seen_times", "seen_back", "seen_first", "seen_kind", "seen_dwell"),
    "what comes next": ("next_of_", "leads_to_"),
    "co-occurrence": ("near_",),
    "item vectors": ("vector_",),
    "price, category, brand": ("price_", "same_"),
    "earlier visits": ("past_",),
    "taste over item vectors": ("taste_",),
}


def groups() -> dict[str, list[int]]:
    """Group -> its columns; every feature is in one group."""
    context = {name for name, _ in CONTEXT}
    found: dict[str, list[int]] = {"the session so far": []}
    for at, name in enumerate(FEATURES):
        source = next((s for s in SOURCES if name in (f"{s}_score", f"{s}_log_score", f"{s}_rank")), None)
        if name in context:
            group = "the session so far"
        elif source is not None:
            group = f"what {source} says"
        else:
            group = next(g for g, starts in _PARTS.items() if name.startswith(starts))
        found.setdefault(group, []).append(at)
    return found


def ablate(
    rows: Rows,
    held_out: Rows,
    cases: Cases,
    config: RankerConfig,
    *,
    threads: int = 2,
    progress: Callable[[str], Progress] = lambda step: no_progress,
) -> dict[str, dict[str, Any]]:
    """Per group how much MRR@20 its features add on held-out cases, in points, with a 95 % interval by
    bootstrap over sessions of the paired difference; ``pays`` when all of the interval is above 0. As many
    trainings as groups, of at most :data:`TREES` trees."""
    small = msgspec.structs.replace(config, trees=min(config.trees, TREES))
    session = cases.session()

    def ranks_without(columns: list[int]) -> Any:
        text = train_trees(_without(rows, columns), small, threads=threads)
        score = lightgbm_module().Booster(model_str=text).predict(_without(held_out, columns).features)
        return ranks_of(held_out, score)

    whole = ranks_without([])
    step = progress("ablation")
    found = {}
    parts = groups()
    for done, (name, columns) in enumerate(parts.items()):
        gain = difference(whole, ranks_without(columns), session, config.seed)
        found[name] = {
            "features": len(columns),
            "mrr20": gain["mrr20"],
            "interval": gain["interval"],
            "pays": gain["interval"][0] > 0,
        }
        step(done + 1, len(parts))
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["mrr20"]))


def _without(rows: Rows, columns: list[int]) -> Rows:
    if not columns:
        return rows
    features = rows.features.copy()
    features[:, columns] = np.nan
    return msgspec.structs.replace(rows, features=features)
