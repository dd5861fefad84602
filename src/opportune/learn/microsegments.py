"""Trains microsegments: k-means over what sessions touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from opportune.errors import InvalidRequest
from opportune.learn.item_vectors import item_vectors
from opportune.recommend.microsegments import MicrosegmentModel
from opportune.recommend.source import Interactions

LISTED = 200
SMOOTHING = 20.0
"""Touches that everybody's taste counts for within a segment: small segments keep to what is popular."""


def train_microsegments(
    history: Interactions, items: int, *, segments: int = 64, dimensions: int = 32, seed: int = 1
) -> tuple[MicrosegmentModel, dict[str, Any]]:
    """Item vectors from sessions, the mean of each session's, MiniBatchKMeans over those (Sculley, "Web-scale
    k-means clustering", WWW 2010; scikit-learn, with the extra ``learn``), and per segment its items by
    touches, drawn towards everybody's shares. ``history`` has whole sessions one after another. Also the
    sizes of the segments and their inertia. Raises :class:`InvalidRequest` when there are too few sessions.
    """
    from sklearn.cluster import MiniBatchKMeans

    vectors = item_vectors(history, items, dimensions=dimensions, seed=seed)
    good = (history.item >= 0) & (history.item < items)
    session, item = np.unique(history.session[good], return_inverse=True)[1], history.item[good]
    n = int(session.max(initial=-1)) + 1
    mean = np.zeros((n, vectors.shape[1]), np.float32)
    np.add.at(mean, session, vectors[item])
    length = np.linalg.norm(mean, axis=1)
    known = length > 0
    if known.sum() < 2 * segments:
        raise InvalidRequest(
            f"too few sessions for {segments} segments",
            seen=int(known.sum()),
            remedy="import more history, or ask for fewer segments",
        )
    mean[known] /= length[known, None]
    model = MiniBatchKMeans(segments, random_state=seed, batch_size=4096, n_init=3)
    label = np.full(n, -1)
    label[known] = model.fit_predict(mean[known])
    counts = np.zeros((segments, items), np.float32)
    of = label[session]
    np.add.at(counts, (of[of >= 0], item[of >= 0]), 1.0)
    share = np.bincount(item, minlength=items) / max(len(item), 1)
    taste = (counts + SMOOTHING * share) / (counts.sum(axis=1, keepdims=True) + SMOOTHING)
    taste[counts == 0] = 0.0
    width = min(LISTED, items)
    order = np.argsort(-taste, axis=1, kind="stable")[:, :width]
    scores = np.take_along_axis(taste, order, axis=1)
    found = MicrosegmentModel(
        vectors,
        np.asarray(model.cluster_centers_, np.float32),
        np.where(scores > 0, order, -1).astype(np.int32),
        scores.astype(np.float32),
    )
    sizes = np.bincount(label[known], minlength=segments)
    return found, {
        "segments": segments,
        "sessions": int(known.sum()),
        "smallest": int(sizes.min()),
        "largest": int(sizes.max()),
        "inertia_per_session": round(float(model.inertia_ / known.sum()), 4),
    }
