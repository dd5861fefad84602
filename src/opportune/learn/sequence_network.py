"""The sequence model as JAX differentiates it: the loss of one step, and Adam."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.learn.sequence_batches import Batch
from opportune.recommend.sequence_model import SequenceModel

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise InvalidRequest(
        "training a sequence model needs JAX, which is not installed",
        remedy="pip install 'opportune[sequence]'",
    ) from error

Parameters = dict[str, Any]
NOT_HERE = 50.0
"""Taken from the logit of what is no candidate."""
MOMENTUM, SCALE, TINY = 0.9, 0.98, 1e-7


def unit(x: Any) -> Any:
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-8)


def directions(parameters: Parameters, x: Any, present: Any) -> Any:
    """(b, t, d) vectors of the touches and which of them there are, to where each prefix is going; the
    formulas of :class:`SequenceModel`."""
    length = x.shape[1]
    back = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
    logits = jnp.einsum("btd,bsd->bts", x @ parameters["attention"] + parameters["importance"], x)
    logits += parameters["distance"][jnp.clip(back, 0, len(parameters["distance"]) - 1)][None]
    logits = jnp.where((back >= 0)[None] & present[:, None, :], logits, -1e9)
    y = jax.nn.softmax(logits, -1) @ x
    return unit(y + y @ parameters["value"])


def loss(
    both: tuple[Parameters, Any], session: Any, seen: Any, log_chance: Any, key: Any,
    sharpness: float, dropout: float,
) -> Any:  # fmt: skip
    """Mean cross-entropy of the touches that are no returns, among the items of the step, each counted by
    how unlikely it was to be there; the target itself always is."""
    parameters, rows = both
    vectors = unit(rows)
    prefix, target = session[:, :-1], session[:, 1:].reshape(-1)
    x = vectors[jnp.maximum(prefix, 0)]
    x = jnp.where(jax.random.bernoulli(key, 1.0 - dropout, x.shape), x / (1.0 - dropout), 0.0)
    there = target >= 0
    target = jnp.maximum(target, 0)[:, None]
    counted = there & (jnp.take_along_axis(seen, target, 1)[:, 0] == 0)
    scale = sharpness * jnp.exp(parameters["log_sharpness"])
    towards = directions(parameters, x, prefix >= 0).reshape(-1, x.shape[-1])
    logits = (towards * scale) @ vectors.T
    right = jnp.take_along_axis(logits, target, 1)[:, 0]
    others = jnp.exp(logits - log_chance[None] - NOT_HERE * seen - scale).sum(-1)
    others -= jnp.exp(right - log_chance[target[:, 0]] - scale)
    surprise = scale + jnp.log(jnp.maximum(others, 0.0) + jnp.exp(right - scale)) - right
    return jnp.where(counted, surprise, 0.0).sum() / jnp.maximum(counted.sum(), 1)


def _adam(value: Any, slope: Any, mean: Any, square: Any, rate: Any) -> tuple[Any, Any, Any]:
    mean = MOMENTUM * mean + (1.0 - MOMENTUM) * slope
    square = SCALE * square + (1.0 - SCALE) * slope * slope
    return value - rate * mean / (jnp.sqrt(square) + TINY), mean, square


@partial(jax.jit, static_argnums=(4, 5), donate_argnums=(0, 1))
def _step(
    layers: Any, table: Any, batch: tuple[Any, Any, Any, Any], moving: tuple[Any, Any],
    sharpness: float, dropout: float,
) -> Any:  # fmt: skip
    """``layers`` and ``table``: (values, means, squares) of the parameters and of all item vectors."""
    items, session, seen, log_chance = batch
    key, rate = moving
    values, means, squares = layers
    here = tuple(part[items] for part in table)
    slopes, rows = jax.grad(loss)(
        (values, here[0]), session, seen, log_chance, key, sharpness=sharpness, dropout=dropout
    )
    moved = {name: _adam(values[name], slopes[name], means[name], squares[name], rate) for name in values}
    moved_rows = _adam(here[0], rows, here[1], here[2], rate)
    layers = tuple({name: moved[name][part] for name in values} for part in range(3))
    table = tuple(
        whole.at[items].set(part, unique_indices=True) for whole, part in zip(table, moved_rows, strict=True)
    )
    return layers, table


class Network:
    """Parameters in training. :meth:`step` takes a batch and a learning rate."""

    def __init__(
        self, vectors: npt.NDArray[np.float32], window: int, sharpness: float, dropout: float, seed: int,
        before: SequenceModel | None = None,
    ) -> None:  # fmt: skip
        d = vectors.shape[1]
        drawn = np.random.default_rng(seed).normal(size=(2, d, d)) / np.sqrt(d)
        values: dict[str, Any] = {
            "attention": drawn[0] @ drawn[1].T / np.sqrt(d),
            "importance": np.zeros(d),
            "distance": np.zeros(window),
            "value": np.zeros((d, d)),
            "log_sharpness": np.zeros(()),
        }
        if before is not None:
            for name in ("attention", "importance", "distance", "value"):
                values[name] = getattr(before, name)
            values["log_sharpness"] = np.log(before.sharpness / sharpness)
        layers = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
        self._layers = (layers, *({k: jnp.zeros_like(v) for k, v in layers.items()} for _ in range(2)))
        table = jnp.asarray(vectors)
        self._table = (table, jnp.zeros_like(table), jnp.zeros_like(table))
        self._sharpness, self._dropout = sharpness, dropout
        self._key = jax.random.PRNGKey(seed)
        self._steps = 0

    def step(self, batch: Batch, rate: float) -> None:
        self._steps += 1
        self._key, key = jax.random.split(self._key)
        rate *= np.sqrt(1.0 - SCALE**self._steps) / (1.0 - MOMENTUM**self._steps)
        self._layers, self._table = _step(
            self._layers, self._table, tuple(batch), (key, rate), self._sharpness, self._dropout
        )

    def parameters(self) -> dict[str, npt.NDArray[np.float32]]:
        found = {name: np.array(value) for name, value in self._layers[0].items()}
        found["vectors"] = np.array(self._table[0])
        return found
