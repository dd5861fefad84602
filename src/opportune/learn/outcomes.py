"""What a candidate leads to: the chance that it is clicked, put into the cart, bought; one forest each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.learn.calibration import calibration
from opportune.learn.candidate_rows import Cases, Rows
from opportune.learn.ranker_training import RankerConfig, lightgbm_module
from opportune.recommend.rank_features import FEATURES
from opportune.recommend.source import Kind
from opportune.recommend.tree_scorer import TreeScorer

Flags = npt.NDArray[np.bool_]
FEWEST = 30
"""Candidates with an outcome without which nothing is learnt of it."""
KINDS: dict[str, Kind] = {"cart": Kind.CART, "buy": Kind.BUY}


def outcome_labels(rows: Rows, cases: Cases) -> dict[str, Flags]:
    """Which candidates led to what. ``click``: it was touched next; ``cart`` and ``buy``: it was put into the
    cart or bought before the session was over. O(rows)."""
    touches = cases.touches
    edges = np.flatnonzero(np.diff(touches.session)) + 1
    end = np.append(edges, len(touches))[np.searchsorted(edges, cases.at, side="right")]
    labels: dict[str, Flags] = {"click": rows.hit.copy()}
    for name, kind in KINDS.items():
        found = np.zeros(len(rows), np.bool_)
        places = np.flatnonzero(touches.kind == kind)
        for case in range(len(cases)):
            here = places[np.searchsorted(places, cases.at[case]) : np.searchsorted(places, end[case])]
            if len(here):
                part = slice(rows.start[case], rows.start[case + 1])
                found[part] = np.isin(rows.item[part], touches.item[here])
        labels[name] = found
    return labels


def train_outcomes(
    rows: Rows, cases: Cases, config: RankerConfig, *, trees: int = 60, leaves: int = 15, threads: int = 2
) -> dict[str, str]:
    """LightGBM's text model of each outcome that occurs often enough. Every candidate of the first stage is a
    row and none is sampled away, so what a forest says is a probability as it is."""
    lightgbm = lightgbm_module()
    data = lightgbm.Dataset(
        rows.features,
        feature_name=list(FEATURES),
        free_raw_data=False,
        params={"max_bin": config.bins, "verbose": -1},
    )
    found: dict[str, str] = {}
    for name, label in outcome_labels(rows, cases).items():
        if label.sum() < FEWEST:
            continue
        data.set_label(label.astype(np.float32))
        parameters: dict[str, Any] = {
            "objective": "binary",
            "num_leaves": min(leaves, config.leaves),
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.least_rows,
            "feature_fraction": config.column_share,
            "lambda_l2": 5.0,
            "max_bin": config.bins,
            "num_threads": threads,
            "deterministic": True,
            "force_col_wise": True,
            "seed": config.seed,
            "verbose": -1,
        }
        found[name] = lightgbm.train(parameters, data, min(trees, config.trees)).model_to_string()
    return found


def outcome_report(models: dict[str, str], rows: Rows, cases: Cases) -> dict[str, dict[str, Any]]:
    """How well each forest foretells later cases: see :func:`calibration`."""
    labels = outcome_labels(rows, cases)
    columns = np.ascontiguousarray(rows.features.T)
    return {
        name: calibration(TreeScorer.from_text(text).score(columns), labels[name])
        for name, text in models.items()
    }
