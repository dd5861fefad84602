"""People from pairs: records grouped so that on average they agree with each other.

Average linkage: two groups join while the mean weight between their members is the highest there is and above
the threshold. One chance agreement cannot chain two families into one person, as connected components would
let it, and a poor record joins through all that its person's other records say. (Average linkage is among the
best clusterings for entity resolution: Hassanzadeh et al., VLDB 2009.)
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from opportune.identity.matching.comparisons import Pairs
from opportune.identity.matching.model import Weights

FLOOR = -9.0
"""Bits that a pair counts against when it was no candidate, and the most that one pair can count against."""
CEILING = 17.0
"""The most that one pair can count for: beyond it the columns are no longer independent evidence."""


class Dendrogram:
    """Every join from the highest mean weight down, so that all thresholds come from one run."""

    def __init__(self, records: int, joins: list[tuple[float, int, int]]) -> None:
        self.records = records
        self.joins = joins

    def labels(self, threshold: float) -> npt.NDArray[np.int64]:
        """(records,) the smallest record number of each one's group when joined at ``threshold`` bits."""
        parent = [*range(self.records)]

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        for weight, a, b in self.joins:
            if weight >= threshold:
                x, y = root(a), root(b)
                parent[max(x, y)] = min(x, y)
        return np.array([root(i) for i in range(self.records)], np.int64)


def agglomerate(
    records: int, left: Pairs, right: Pairs, weights: Weights, *, lowest: float = -7.0
) -> Dendrogram:
    """Join groups of records down to a mean weight of ``lowest`` bits. O(E log E) for E pairs above
    the floor.
    Pairs that are not named count as :data:`FLOOR`.
    """
    near: list[dict[int, float]] = [{} for _ in range(records)]
    above = np.flatnonzero(weights > FLOOR)
    heap: list[tuple[float, int, int]] = []
    for i in above.tolist():
        a, b = int(left[i]), int(right[i])
        lift = min(float(weights[i]), CEILING) - FLOOR
        near[a][b] = near[b][a] = lift
        heap.append((-lift, min(a, b), max(a, b)))
    heapq.heapify(heap)
    size = [1] * records
    alive = [True] * records
    joins: list[tuple[float, int, int]] = []
    while heap:
        minus, a, b = heapq.heappop(heap)
        if -minus + FLOOR < lowest:
            break
        if not (alive[a] and alive[b]) or near[a].get(b, 0.0) / (size[a] * size[b]) != -minus:
            continue
        joins.append((-minus + FLOOR, a, b))
        keep, gone = (a, b) if len(near[a]) >= len(near[b]) else (b, a)
        alive[gone] = False
        size[keep] += size[gone]
        del near[keep][gone]
        for other, lift in near[gone].items():
            if other != keep:
                near[keep][other] = near[keep].get(other, 0.0) + lift
                del near[other][gone]
        for other, lift in near[keep].items():
            near[other][keep] = lift
            mean = lift / (size[keep] * size[other])
            heapq.heappush(heap, (-mean, min(keep, other), max(keep, other)))
        near[gone] = {}
    return Dendrogram(records, joins)
