"""Propensity: how likely somebody is to buy, to leave, to do what an event names, from their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition
from opportune.profiles.lookup import value_at
from opportune.recommend.tree_scorer import TreeScorer

Matrix = npt.NDArray[np.float32]
FEWEST = 50
"""Rows of either outcome without which nothing is learnt."""


class PropensityConfig(msgspec.Struct, frozen=True, kw_only=True):
    """LightGBM's knobs; the defaults are cautious: small leaves' opinions are smoothed, rows and features are
    sampled. ``rounds`` is the most; how many are kept is chosen on the last ``held_out`` share of the rows
    when they are in order of time, at random when ``shuffled``."""

    learning_rate: float = 0.05
    leaves: int = 15
    min_rows: int = 50
    feature_share: float = 0.6
    row_share: float = 0.8
    ridge: float = 5.0
    rounds: int = 600
    patience: int = 40
    held_out: float = 0.15
    shuffled: bool = False
    seed: int = 1


class PropensityModel(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that serving needs, and what it was learnt from. ``features`` are paths into the features of
    a person (``intents.price`` looks into one with several values); ``words`` numbers the values of those
    that are text; ``forest`` is LightGBM's text model. ``base_rate`` is the share of the outcome in training.
    """

    features: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    forest: str
    rows: int
    base_rate: float
    kind: str = "propensity"


class Propensity:
    """A :class:`PropensityModel` that answers. ``read`` is 0.4 ms for 700 trees: the scorer works on
    blocks of 128 rows, so that ``read_many`` costs little more for a hundred."""

    def __init__(self, model: PropensityModel) -> None:
        self.model = model
        self._scorer = TreeScorer.from_text(model.forest)

    def read(self, features: Mapping[str, Any]) -> float:
        """The probability of the outcome for somebody with these features."""
        return float(self.read_many((features,))[0])

    def read_many(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        return self._scorer.score(columns_of(rows, self.model.features, self.model.words))


def columns_of(
    rows: Sequence[Mapping[str, Any]], features: Sequence[str], words: Mapping[str, Sequence[str]]
) -> Matrix:
    """``(features, rows)``: numbers as they are, text as its number in ``words`` (-1 if new), lists as their
    length, NaN where there is nothing."""
    out = np.full((len(features), len(rows)), np.nan, np.float32)
    for at, path in enumerate(features):
        number = {word: i for i, word in enumerate(words.get(path, ()))}
        for r, row in enumerate(rows):
            value = value_at(row, path)
            if path in words:
                out[at, r] = np.nan if value is None else number.get(str(value), -1)
            elif isinstance(value, int | float):
                out[at, r] = value
            elif isinstance(value, list | tuple | Mapping):
                out[at, r] = len(value)
    return out


def train_propensity(
    rows: Sequence[Mapping[str, Any]],
    outcome: Sequence[bool],
    *,
    features: Sequence[str] = (),
    config: PropensityConfig | None = None,
) -> PropensityModel:
    """Gradient-boosted trees (LightGBM, the extra ``learn``) on rows as features were at the time, in order
    of time. ``features``: paths to learn from, by default every value of the rows that varies. 2 s for ten
    thousand rows. Raises :class:`InvalidDefinition` when either outcome is too rare.
    """
    config = config or PropensityConfig()
    truth = np.asarray(outcome, np.float64)
    n_true = int(truth.sum())
    if len(rows) != len(truth) or min(n_true, len(truth) - n_true) < FEWEST:
        raise InvalidDefinition(
            f"a propensity needs at least {FEWEST} rows of either outcome",
            seen=f"{n_true} of {len(truth)}",
            remedy="choose a longer horizon or more history",
        )
    import lightgbm

    names = tuple(features) or varying(rows)
    words = words_of(rows, names)
    x = columns_of(rows, names, words).T.astype(np.float64)
    parameters = {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": min(config.min_rows, max(len(rows) // 40, 5)),
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share,
        "bagging_freq": 1,
        "lambda_l2": config.ridge,
        "seed": config.seed,
        "deterministic": True,
        "num_threads": 1,
        "verbose": -1,
    }
    order = np.arange(len(rows))
    if config.shuffled:
        order = np.random.default_rng(config.seed).permutation(len(rows))
    cut = len(rows) - max(int(len(rows) * config.held_out), 1)
    categorical = [i for i, name in enumerate(names) if name in words]

    def dataset(part: npt.NDArray[np.int64]) -> Any:
        return lightgbm.Dataset(
            x[part],
            truth[part],
            categorical_feature=categorical,
            feature_name=[f"f{i}" for i in range(len(names))],
        )

    tried = lightgbm.train(
        parameters,
        dataset(order[:cut]),
        config.rounds,
        valid_sets=[dataset(order[cut:])],
        callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
    )
    rounds = max(round(tried.best_iteration * len(rows) / cut), 1)
    whole = lightgbm.train(parameters, dataset(np.arange(len(rows))), rounds)
    return PropensityModel(
        features=names,
        words=words,
        forest=whole.model_to_string(),
        rows=len(rows),
        base_rate=float(truth.mean()),
    )


def varying(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of what the rows do not all have alike."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            values = seen.setdefault(name, set())
            if len(values) < 2:
                values.add(repr(value))
    return tuple(sorted(name for name, values in seen.items() if len(values) > 1))


def words_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The values of what is text: their places number them."""
    found: dict[str, tuple[str, ...]] = {}
    for path in names:
        name, _, rest = path.partition(".")
        values = {row.get(name) for row in rows if isinstance(row.get(name), str)}
        if values and not rest:
            found[path] = tuple(sorted(str(value) for value in values))
    return found
