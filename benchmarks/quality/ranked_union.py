"""The union of several sources' candidates under a learned order: LightGBM's LambdaMART over what the sources
said and what is known of the candidate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Union(NamedTuple):
    """Cases of candidates with features: case ``c`` is rows ``start[c]:start[c + 1]``; ``target`` marks what
    was wanted (nowhere, when no source proposed it)."""

    start: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    feature: npt.NDArray[np.float32]
    target: npt.NDArray[np.int8]

    def slice(self, first: int, last: int) -> Union:
        part = slice(self.start[first], self.start[last])
        return Union(
            self.start[first : last + 1] - self.start[first],
            self.item[part],
            self.feature[part],
            self.target[part],
        )

    def __len__(self) -> int:
        return len(self.start) - 1


def gathered(cases: list[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]) -> Union:
    """From (items, features, target) of each case."""
    sizes = [len(items) for items, _, _ in cases]
    return Union(
        np.cumsum([0, *sizes]).astype(np.int64),
        np.concatenate([items for items, _, _ in cases]).astype(np.int32),
        np.concatenate([features for _, features, _ in cases]).astype(np.float32),
        np.concatenate([target for _, _, target in cases]).astype(np.int8),
    )


def learn(
    union: Union,
    *,
    names: list[str],
    last_share: float = 0.25,
    seed: int,
    rounds: int = 300,
    truncation: int = 20,
    again: bool = False,
) -> Any:
    """A ranker from all candidates of the cases where one was wanted; the number of trees is chosen on the
    last share of the cases, which are in order of time. ``truncation``: the places at the top whose order
    counts. ``again``: with that number, train again on all cases."""
    import lightgbm

    wanted = np.flatnonzero(np.add.reduceat(union.target, union.start[:-1]) > 0)
    cut = wanted[int(len(wanted) * (1 - last_share))]

    def data(first: int, last: int, reference: Any = None) -> Any:
        part = union.slice(first, last)
        sizes = np.diff(part.start)
        hit = np.add.reduceat(part.target, part.start[:-1]) > 0
        rows = np.repeat(hit, sizes)
        return lightgbm.Dataset(
            part.feature[rows],
            part.target[rows],
            group=sizes[hit],
            feature_name=names,
            reference=reference,
            free_raw_data=False,
        )

    parameters = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [20],
        "learning_rate": 0.08,
        "num_leaves": 15,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.7,
        "lambda_l2": 5.0,
        "lambdarank_truncation_level": truncation,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    first = data(0, int(cut))
    chosen = lightgbm.train(
        parameters,
        first,
        rounds,
        valid_sets=[data(int(cut), len(union), first)],
        callbacks=[lightgbm.early_stopping(30, verbose=False)],
    )
    if not again:
        return chosen
    return lightgbm.train(parameters, data(0, len(union)), chosen.best_iteration)


def order(union: Union, score: Floats) -> list[npt.NDArray[np.int32]]:
    """The candidates of every case, best first."""
    found = []
    for first, last in zip(union.start[:-1], union.start[1:], strict=True):
        best = np.argsort(-score[first:last], kind="stable")
        found.append(union.item[first:last][best])
    return found
