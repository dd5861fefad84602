"""Weighted blend of candidate lists."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Candidates, Floats, Items


class Blended(msgspec.Struct, frozen=True):
    """Parallel arrays, best first; bit ``i`` of ``sources`` says that answer ``i`` proposed the item."""

    items: Items
    scores: Floats
    sources: npt.NDArray[np.int64]
    because: Items


def blend(answers: Sequence[tuple[Candidates, float]], count: int) -> Blended:
    """Sum of the answers' scores, each scaled to a maximum of 1 and weighted; ``because`` is that of the
    largest part. Ties break towards the newer item."""
    items = np.concatenate([c.item for c, _ in answers] or [np.zeros(0, np.int32)])
    if not len(items):
        none = np.zeros(0, dtype=np.int32)
        return Blended(none, np.zeros(0, np.float32), np.zeros(0, np.int64), none)
    parts = np.concatenate([_scaled(c.score, w) for c, w in answers])
    bits = np.repeat(
        np.array([1 << i for i in range(len(answers))], dtype=np.int64), [len(c.item) for c, _ in answers]
    )
    because = np.concatenate([c.because for c, _ in answers])
    order = np.lexsort((-parts, items))
    items, parts, bits, because = items[order], parts[order], bits[order], because[order]
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    scores = np.add.reduceat(parts, starts).astype(np.float32)
    found = items[starts]
    best = np.lexsort((-found, -scores))[:count]
    return Blended(
        found[best], scores[best], np.bitwise_or.reduceat(bits, starts)[best], because[starts][best]
    )


def _scaled(score: Floats, weight: float) -> Floats:
    top = float(score.max()) if len(score) else 0.0
    return score * np.float32(weight / top) if top > 0 else score * np.float32(0)
