"""Training the ranker: LambdaMART over what the candidate stage really returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.learn.candidate_rows import Rows
from opportune.recommend.rank_features import FEATURES

Report = Callable[[str], None]
Ranks = npt.NDArray[np.int32]
DEPTH = 20


class RankerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """LightGBM's knobs. ``trees`` of at most ``leaves`` leaves; ``truncation``: pairs that involve one of the
    top places count. Defaults do well on public session data and keep 100 candidates at 0.1 ms."""

    trees: int = 100
    leaves: int = 31
    learning_rate: float = 0.1
    least_rows: int = 200
    truncation: int = 20
    bins: int = 127
    column_share: float = 0.7
    seed: int = 1


def train_trees(
    rows: Rows, config: RankerConfig, *, place: npt.NDArray[np.int32] | None = None, threads: int = 2
) -> str:
    """LambdaMART (Burges, 2010) as LightGBM has it, grouped by case; returns the text model.

    ``place`` is where each row was shown, from 0, when the rows are lists that people saw: what is high up is
    clicked for being there. Each place then gets a term of its own that is added to the score in training and
    left out in serving (the additive click model of two towers: Guo et al., "PAL", RecSys 2019; LightGBM's
    ``position``). It can be told from taste only where items were shown at different places: by experiments,
    by rankings that changed, by chance.

    Cases in which no candidate was touched next say nothing about order and are left out. Raises
    :class:`InvalidRequest` when none is left or LightGBM is not installed.
    """
    lightgbm = lightgbm_module()
    size = np.diff(rows.start)
    answered = np.zeros(len(size), np.bool_)
    answered[np.searchsorted(rows.start, np.flatnonzero(rows.hit), side="right") - 1] = True
    if not answered.any():
        raise InvalidRequest(
            "no candidate was ever touched next: there is nothing to learn an order from",
            seen=f"{len(size)} cases",
            remedy="train on more history",
        )
    kept = np.repeat(answered, size)
    data = lightgbm.Dataset(
        rows.features if kept.all() else rows.features[kept],
        rows.hit[kept].astype(np.int8),
        group=size[answered],
        position=None if place is None else place[kept],
        feature_name=list(FEATURES),
        params={"max_bin": config.bins, "verbose": -1},
    )
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "num_leaves": config.leaves,
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.least_rows,
            "lambdarank_position_bias_regularization": 0.0,
            "lambdarank_truncation_level": config.truncation,
            "feature_fraction": config.column_share,
            "max_bin": config.bins,
            "num_threads": threads,
            "deterministic": True,
            "force_col_wise": True,
            "seed": config.seed,
            "verbose": -1,
        },
        data,
        config.trees,
    )
    text: str = booster.model_to_string()
    return text


def best_size(text: str, rows: Rows, sizes: Sequence[int]) -> tuple[int, str]:
    """How many trees do best on held-out cases by ``HR@20 + 2 MRR@20``, and the model cut to them."""
    booster = lightgbm_module().Booster(model_str=text)
    found = []
    for size in sizes:
        ranks = ranks_of(rows, booster.predict(rows.features, num_iteration=size))
        found.append((quality(ranks), -size))
    size = -max(found)[1]
    return size, booster.model_to_string(num_iteration=size)


def quality(ranks: Ranks) -> float:
    """Hit rate, and mean reciprocal rank at about the same relative weight."""
    return float(np.mean(ranks > 0) + 2.0 * np.mean(np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)))


def ranks_of(rows: Rows, score: npt.NDArray[Any]) -> Ranks:
    """Place of the item touched next among each case's candidates, 1 the top; 0 where it is not among the
    first 20. Of equal scores the first stage's order decides."""
    ranks = np.zeros(len(rows.start) - 1, np.int32)
    for at in np.flatnonzero(rows.hit):
        case = int(np.searchsorted(rows.start, at, side="right")) - 1
        first, last = rows.start[case], rows.start[case + 1]
        better = int((score[first:last] > score[at]).sum() + (score[first:at] == score[at]).sum())
        ranks[case] = better + 1 if better < DEPTH else 0
    return ranks


def importances(text: str) -> dict[str, float]:
    """Share of the total gain by feature, largest first."""
    booster = lightgbm_module().Booster(model_str=text)
    gain = booster.feature_importance("gain")
    shares = gain / max(gain.sum(), 1e-12)
    order = np.argsort(-shares, kind="stable")
    names = booster.feature_name()
    return {names[at]: round(float(shares[at]), 5) for at in order}


def lightgbm_module() -> Any:
    """Raises :class:`InvalidRequest` where the extra ``learn`` is not installed."""
    try:
        import lightgbm
    except ImportError as error:
        raise InvalidRequest(
            "training needs LightGBM, which is not installed", remedy="pip install 'opportune[learn]'"
        ) from error
    return lightgbm
