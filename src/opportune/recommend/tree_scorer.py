"""Predictions of a LightGBM model for a hundred candidates in tens of microseconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition
from opportune.recommend.tree_kernel import BLOCK, sum_leaves
from opportune.recommend.tree_layout import lay_out
from opportune.recommend.tree_text import Forest, parse_forest

Floats = npt.NDArray[np.float32]


def room_for(rows: int) -> int:
    """The rows of a matrix that is scored without a copy: ``rows`` rounded up to whole blocks."""
    return -(-rows // BLOCK) * BLOCK


class TreeScorer:
    """Predictions of a LightGBM model: those of ``Booster.predict`` for float32 rows, to the last bits.

    The bit-vector traversal of Lucchese et al., "QuickScorer" (SIGIR 2015), made dense: per tree and row one
    machine word holds the leaves that can still be reached; a node whose test fails takes the leaves of its
    left subtree away; the exit is the lowest leaf left. The paper's order by threshold and its early end are
    left out, because a plain loop over rows is vectorized. O(rows * nodes), 100 rows x 100 trees x 31 leaves
    in about 0.05 ms; trees of at most 32 leaves take half the time of larger ones. Rows are scored
    in blocks of 128: a matrix of :func:`room_for` rows is not copied. At most 64 leaves a tree.
    """

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.layout = lay_out(forest)

    @classmethod
    def from_text(cls, text: str) -> TreeScorer:
        return cls(parse_forest(text))

    @property
    def features(self) -> tuple[str, ...]:
        return self.forest.features

    def score(self, columns: Floats) -> npt.NDArray[np.float64]:
        """Predictions for ``columns`` (features, rows), feature-major; NaN where there is no value.

        Raises :class:`InvalidDefinition` when the number of features is not the model's.
        """
        if columns.ndim != 2 or len(columns) != len(self.forest.features):
            raise InvalidDefinition(
                f"the model reads {len(self.forest.features)} features, one a row of the matrix",
                seen=f"shape {columns.shape}",
                remedy="hand over the features in the model's order, (features, rows)",
            )
        rows = columns.shape[1]
        room = room_for(rows)
        if room != rows:
            padded = np.zeros((len(columns), room), np.float32)
            padded[:, :rows] = columns
            columns = padded
        sums = np.zeros((room // BLOCK, BLOCK), np.float64)
        blocks = np.ascontiguousarray(columns, np.float32).reshape(len(columns), -1, BLOCK)
        sum_leaves(*self.layout, blocks, sums)
        total = sums.reshape(-1)[:rows]
        if self.forest.averaged:
            total /= len(self.forest.trees)
        link = self.forest.link
        if link.name == "sigmoid":
            return 1.0 / (1.0 + np.exp(-link.scale * total))
        return np.exp(total) if link.name == "exp" else total
