"""Trains a sequence model with JAX on the processor; serving needs none of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition, InvalidRequest
from opportune.learn.item_vectors import item_vectors
from opportune.learn.sequence_batches import Batch, Batches
from opportune.recommend.sequence_model import SequenceModel, neighbours_of
from opportune.recommend.source import Interactions

Progress = Callable[[int, int], None]
WARM_UP_STEPS = 200


class SequenceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``passes`` over the history, each step ``targets`` predictions among ``step_items`` items. ``dropout``
    of the numbers of the session's vectors. ``window``: clicks of a session that are looked at.
    ``neighbours`` per item are kept for serving."""

    dimensions: int = 64
    window: int = 20
    passes: int = 5
    learning_rate: float = 0.003
    dropout: float = 0.3
    sharpness: float = 14.0
    targets: int = 1024
    step_items: int = 2048
    neighbours: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        if self.step_items < 2 * self.targets:
            raise InvalidDefinition(
                "step_items must be at least twice targets",
                seen=f"{self.step_items} for {self.targets}",
                remedy="use 2048 for 1024",
            )


def train_sequence(
    history: Interactions,
    items: int,
    config: SequenceConfig | None = None,
    *,
    before: SequenceModel | None = None,
    progress: Progress = lambda done, of: None,
) -> SequenceModel:
    """A model of ``history`` (whole sessions, one after another, oldest first).

    Item vectors begin as those of :func:`item_vectors` and all parameters are then trained by cross-entropy
    at every position of every session among the items of the step, what the session already has left out
    (returning is counted, not trained). Adam, of item vectors only the rows of the step; the learning rate
    falls to zero along a cosine. ``before``: go on from this model instead, with a fifth of the rate.

    About 40 s of one core a pass over 670,000 clicks, and 40 s for the neighbours of 43,000 items. Raises
    :class:`InvalidRequest` when JAX is not installed or no session has two touches.
    """
    config = config or SequenceConfig()
    batches = Batches(
        history,
        items,
        window=config.window,
        targets=config.targets,
        step_items=config.step_items,
        seed=config.seed,
    )
    if not batches.steps:
        raise InvalidRequest(
            "no session has two touches: there is no sequence to learn",
            seen=f"{len(history)} touches",
            remedy="train on more history",
        )
    from opportune.learn import sequence_network

    rate = config.learning_rate * (1.0 if before is None else 0.2)
    network = sequence_network.Network(
        _first_vectors(history, items, config) if before is None else _grown(before.vectors, items, config),
        config.window,
        config.sharpness,
        config.dropout,
        config.seed,
        before,
    )
    steps = config.passes * batches.steps
    done = 0
    for _ in range(config.passes):
        for batch in batches.once():
            done += 1
            falling = 0.5 * (1.0 + math.cos(math.pi * done / steps))
            network.step(batch, rate * min(1.0, done / WARM_UP_STEPS) * (0.97 * falling + 0.03))
            progress(done, steps)
    trained = np.bincount(history.item, minlength=items) > 0
    return _model(network.parameters(), trained, returns_of(history, config.window), config)


def returns_of(history: Interactions, window: int) -> npt.NDArray[np.float32]:
    """By how many clicks back an item was last touched: how often it is the next one. (window,)"""
    edge = np.ones(len(history), np.bool_)
    edge[1:] = history.session[1:] != history.session[:-1]
    first = np.maximum.accumulate(np.where(edge, np.arange(len(history)), 0))
    position = np.arange(len(history)) - first
    item = history.item
    next_is = np.zeros(window)
    there = np.zeros(window)
    open_case = ~edge
    for back in range(window):
        at = np.flatnonzero(position > back)
        at = at[open_case[at]]
        candidate = item[at - 1 - back]
        newer = np.zeros(len(at), np.bool_)
        for nearer in range(back):
            newer |= item[at - 1 - nearer] == candidate
        there[back] = np.count_nonzero(~newer)
        next_is[back] = np.count_nonzero(~newer & (item[at] == candidate))
    return (next_is / (there + 20.0)).astype(np.float32)


def _first_vectors(history: Interactions, items: int, config: SequenceConfig) -> npt.NDArray[np.float32]:
    vectors = item_vectors(history, items, dimensions=config.dimensions, seed=config.seed)
    return _grown(vectors, items, config)


def _grown(vectors: npt.NDArray[np.float32], items: int, config: SequenceConfig) -> npt.NDArray[np.float32]:
    """Room for ``items``; random directions where nothing is known."""
    grown = np.zeros((items, config.dimensions), np.float32)
    grown[: len(vectors)] = vectors
    blank = np.flatnonzero(~grown.any(axis=1))
    random = np.random.default_rng(config.seed).normal(size=(len(blank), config.dimensions))
    grown[blank] = random / math.sqrt(config.dimensions)
    return grown


def _model(
    parameters: dict[str, Any],
    trained: npt.NDArray[np.bool_],
    returns: npt.NDArray[np.float32],
    config: SequenceConfig,
) -> SequenceModel:
    vectors = np.array(parameters["vectors"], np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors[~trained] = 0.0
    value = np.array(parameters["value"], np.float32)
    return SequenceModel(
        vectors=vectors,
        attention=np.array(parameters["attention"], np.float32),
        importance=np.array(parameters["importance"], np.float32),
        distance=np.array(parameters["distance"], np.float32),
        value=value,
        returns=returns,
        neighbours=neighbours_of(vectors, value, config.neighbours),
        sharpness=float(config.sharpness * np.exp(parameters["log_sharpness"])),
    )


__all__ = ["Batch", "SequenceConfig", "returns_of", "train_sequence"]
