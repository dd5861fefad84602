"""Has the world moved since training? Histograms of what a model was trained on, and how far others are."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.rank_features import FEATURES

Floats = npt.NDArray[np.float64]
BINS = 10
LEAST_SHARE = 1e-4
"""What an empty bin counts as: the logarithm of nothing has no value."""
SCORE = "score"


class Baseline(msgspec.Struct, frozen=True):
    """One number's histogram in training: ``edges`` cut it at its own deciles (fewer where values repeat),
    ``shares`` has one share per bin and a last one of what was missing."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def baseline(values: npt.ArrayLike, bins: int = BINS) -> Baseline:
    """The histogram of values with NaN for what is missing."""
    column = np.asarray(values, np.float64)
    known = column[np.isfinite(column)]
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    # Cut between values that occur: an edge on a value that half of the rows have would depend on rounding.
    edges = np.unique(np.quantile(known, inner, method="lower")) if len(known) else np.zeros(0)
    found = Baseline(tuple(edges.tolist()), ())
    counts = counts_of(found, column)
    return Baseline(found.edges, tuple((counts / max(len(column), 1)).tolist()))


def counts_of(of: Baseline, values: npt.ArrayLike) -> Floats:
    """How many values fall into each bin of the baseline, the missing last."""
    column = np.asarray(values, np.float64)
    known = np.isfinite(column)
    counts = np.zeros(len(of.edges) + 2)
    counts[:-1] = np.bincount(np.searchsorted(of.edges, column[known]), minlength=len(of.edges) + 1)
    counts[-1] = len(column) - int(known.sum())
    return counts


def stability_index(expected: npt.ArrayLike, seen: npt.ArrayLike) -> float:
    """Population stability index of two histograms over the same bins: ``sum((s - e) log(s / e))`` of their
    shares. Below 0.1 is taken as stable, above 0.25 as another population (Siddiqi, "Credit Risk
    Scorecards", 2006).

    >>> stability_index([50, 50], [500, 500]), round(stability_index([5, 5], [9, 1]), 3)
    (0.0, 0.879)
    """
    e, s = (np.asarray(each, np.float64) for each in (expected, seen))
    e, s = (np.maximum(each / max(each.sum(), 1e-12), LEAST_SHARE) for each in (e, s))
    return float(((s - e) * np.log(s / e)).sum())


def ranker_baselines(features: npt.NDArray[np.float32], score: npt.ArrayLike) -> dict[str, Baseline]:
    """Of every feature of the ranker (rows, COLUMNS), and of its scores."""
    found = {name: baseline(features[:, at]) for at, name in enumerate(FEATURES)}
    return {SCORE: baseline(score), **found}


def drift(
    of: Mapping[str, Baseline], features: npt.NDArray[np.float32], score: npt.ArrayLike
) -> dict[str, float]:
    """The stability index of each feature and of the score, the largest first."""
    columns = {SCORE: np.asarray(score), **{name: features[:, at] for at, name in enumerate(FEATURES)}}
    found = {
        name: round(stability_index(of[name].shares, counts_of(of[name], column)), 4)
        for name, column in columns.items()
        if name in of
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
