"""What a trained sequence model is: arrays, and nothing of the framework that trained it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class SequenceModel(msgspec.Struct, frozen=True, eq=False):
    """One layer of causal self-attention (Kang & McAuley, "Self-attentive sequential recommendation", ICDM
    2018) whose values are the item vectors themselves, so that sessions and items live in one space (Hou et
    al., "CORE", SIGIR 2022).

    With ``x`` the vectors of the session's items, newest ``x_0``::

        weight_s  = softmax_s(x_0 attention x_s + importance x_s + distance[clicks back])
        direction = unit(y + y value),   y = sum_s weight_s x_s
        P(j | the next item is a new one)  ~  exp(sharpness * direction x_j)

    and ``returns[r]`` is the chance that the next item is the one last touched ``r`` clicks ago.

    ``vectors`` (items, d): rows of length 1, zeros for items that were not in the training; ``attention`` and
    ``value`` (d, d); ``importance`` (d,); ``distance`` and ``returns`` (window,); ``neighbours`` (items, k):
    to which items the model goes on from each one alone, likeliest first, -1 at the end.

    Differs from the papers: one layer, distances instead of positions, items of the session are no
    candidates of the softmax. Raises :class:`InvalidDefinition` for arrays that do not fit together.
    """

    vectors: Floats
    attention: Floats
    importance: Floats
    distance: Floats
    value: Floats
    returns: Floats
    neighbours: Ints
    sharpness: float

    def __post_init__(self) -> None:
        items, d = self.vectors.shape
        window = len(self.distance)
        shapes = {
            "attention": (self.attention, (d, d)),
            "value": (self.value, (d, d)),
            "importance": (self.importance, (d,)),
            "returns": (self.returns, (window,)),
            "neighbours": (self.neighbours, (items, self.neighbours.shape[-1])),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise InvalidDefinition(
                    f"the sequence model's {name} should have the shape {shape}",
                    seen=array.shape,
                    remedy="train it again",
                )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """By name, to be stored one by one; :meth:`of_arrays` takes them back, memory-mapped or not."""
        named = {name: getattr(self, name) for name in ARRAYS if name != "sharpness"}
        return {**named, "sharpness": np.array([self.sharpness])}

    @classmethod
    def of_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> SequenceModel:
        scalars = {"sharpness": float(arrays["sharpness"][0])}
        return cls(**{**arrays, **scalars})  # type: ignore[arg-type]  # the names are this struct's own


ARRAYS = SequenceModel.__struct_fields__
"""The names of the arrays that a model is stored as."""


def neighbours_of(vectors: Floats, value: Floats, count: int) -> Ints:
    """The ``count`` items nearest to ``x + x value`` for every item's vector ``x``, itself left out.
    O(items^2 d), in blocks; half a minute for 43,000 items of 64 dimensions."""
    items = len(vectors)
    count = min(count, max(items - 1, 1))
    found = np.full((items, count), -1, np.int32)
    known = np.flatnonzero(vectors.any(axis=1))
    if len(known) < 2:
        return found
    targets = np.ascontiguousarray(vectors[known].T)
    kept = min(count, len(known) - 1)
    for first in range(0, len(known), 256):
        rows = known[first : first + 256]
        near = (vectors[rows] + vectors[rows] @ value) @ targets
        near[np.arange(len(rows)), first + np.arange(len(rows))] = -np.inf
        best = np.argpartition(near, -kept, axis=1)[:, -kept:]
        order = np.argsort(-np.take_along_axis(near, best, 1), axis=1, kind="stable")
        found[rows, :kept] = known[np.take_along_axis(best, order, 1)]
    return found
