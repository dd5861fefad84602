"""The readable reference of ``sequence_kernel.py``: the formulas of :class:`SequenceModel`, a line each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.recommend.sequence_model import SequenceModel

Doubles = npt.NDArray[np.float64]


def known_touches(model: SequenceModel, session: list[int]) -> list[int]:
    """Positions of the newest touches of known items, newest first, as many as the window has."""
    known = [
        at for at, i in enumerate(session) if 0 <= i < len(model.vectors) and bool(model.vectors[i].any())
    ]
    return known[::-1][: len(model.distance)]


def attention_weights(model: SequenceModel, session: list[int]) -> Doubles:
    """How much each of the known touches counts, newest first; sums to 1."""
    x = model.vectors[[session[at] for at in known_touches(model, session)]].astype(np.float64)
    logits = x @ (x[0] @ model.attention + model.importance) + model.distance[: len(x)]
    weight = np.exp(logits - logits.max())
    found: Doubles = weight / weight.sum()
    return found


def direction(model: SequenceModel, session: list[int]) -> Doubles:
    """Where the session is going, a vector of length 1."""
    x = model.vectors[[session[at] for at in known_touches(model, session)]].astype(np.float64)
    y = attention_weights(model, session) @ x
    towards = y + y @ model.value
    found: Doubles = towards / np.linalg.norm(towards)
    return found


def likelihoods(model: SequenceModel, session: list[int]) -> dict[int, float]:
    """Of every known item: its chance to be next, the items of the session by how far back they are, the
    others by their fit; up to a common factor."""
    touches = known_touches(model, session)
    fit = np.exp(model.sharpness * (model.vectors @ direction(model, session) - 1.0))
    seen: dict[int, float] = {}
    for back, at in enumerate(touches):
        seen.setdefault(session[at], float(model.returns[back]))
    new = {j: float(fit[j]) for j in np.flatnonzero(model.vectors.any(axis=1)).tolist() if j not in seen}
    staying = sum(seen.values())
    total = sum(new.values())
    return {**seen, **{j: (1.0 - staying) * part / total for j, part in new.items()}}
