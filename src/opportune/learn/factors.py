"""Trains matrix factorization on who touched what."""

from __future__ import annotations

import numpy as np

from opportune.recommend.factors import FactorModel
from opportune.recommend.source import Interactions


def train_factors(
    interactions: Interactions,
    items: int,
    *,
    dimensions: int = 64,
    ridge: float = 0.05,
    weight: tuple[float, float, float] = (4.0, 8.0, 12.0),
    rounds: int = 15,
    seed: int = 1,
) -> FactorModel:
    """Alternating least squares over sessions by items with the library ``implicit`` (the extra ``learn``);
    ``weight`` is the confidence of a view, a cart and a purchase. Items without a touch get no vector."""
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    good = (interactions.item >= 0) & (interactions.item < items)
    good &= (interactions.kind >= 0) & (interactions.kind < len(weight))
    _, session = np.unique(interactions.session[good], return_inverse=True)
    item = interactions.item[good]
    confidence = np.array(weight, np.float32)[interactions.kind[good]]
    shape = (int(session.max(initial=-1)) + 1, items)
    matrix = csr_matrix((confidence, (session, item)), shape, dtype=np.float32)
    with threadpool_limits(1, "blas"):  # its small products are slower on many threads
        model = AlternatingLeastSquares(
            factors=dimensions,
            regularization=ridge,
            iterations=rounds,
            num_threads=1,
            random_state=seed,
            use_cg=False,
        )
        model.fit(matrix, show_progress=False)
    vectors = np.array(model.item_factors, np.float32)
    vectors[np.bincount(item, minlength=items) == 0] = 0
    return FactorModel(vectors, ridge, weight)
