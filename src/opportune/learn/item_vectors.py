"""Item vectors from what sessions touch together: a small factorization, trained in seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Interactions

WINDOW = 8
SMOOTHING = 0.75


def item_vectors(
    history: Interactions, items: int, *, dimensions: int = 64, seed: int = 1
) -> npt.NDArray[np.float32]:
    """Vectors of length 1, shape (items, dimensions), the direction that tells most first; zeros for items
    without a partner.

    The largest singular vectors of the positive pointwise mutual information of items within ``WINDOW``
    touches of a session, less by distance; the context's popularity is smoothed (Levy and Goldberg,
    "Neural word embedding as implicit matrix factorization", NIPS 2014; item2vec in closed form). Needs
    scipy. ``history`` has whole sessions one after another.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    empty = np.zeros((items, dimensions), np.float32)
    session, item = history.session, history.item.astype(np.int64)
    left, right, weight = [], [], []
    for gap in range(1, WINDOW + 1):
        a, b = item[:-gap], item[gap:]
        pair = (session[gap:] == session[:-gap]) & (a != b)
        left += [a[pair], b[pair]]
        right += [b[pair], a[pair]]
        weight += [np.full(int(pair.sum()), 0.8 ** (gap - 1))] * 2
    together = coo_matrix(
        (np.concatenate(weight), (np.concatenate(left), np.concatenate(right))), (items, items)
    ).tocsr()
    if min(dimensions, int((together.getnnz(axis=1) > 0).sum()) - 1) < dimensions:
        return empty
    touched = np.asarray(together.sum(axis=1)).ravel()
    context = touched**SMOOTHING
    context /= context.sum()
    cells = together.tocoo()
    information = np.log(cells.data / (touched[cells.row] * context[cells.col]))
    kept = information > 0
    positive = coo_matrix((information[kept], (cells.row[kept], cells.col[kept])), together.shape).tocsr()
    left_vectors, strength, _ = svds(positive, k=dimensions, random_state=seed)
    strongest_first = np.argsort(-strength, kind="stable")
    vectors = (left_vectors * np.sqrt(strength))[:, strongest_first]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = touched > 0
    empty[known] = (vectors[known] / np.maximum(length[known], 1e-12)).astype(np.float32)
    return empty
