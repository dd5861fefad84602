"""Trees scored one row at a time, as the text model defines it: what the kernel is held to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opportune.recommend.tree_text import Forest, Link, Missing, Node, Tree

ZERO = 1e-35
"""Values this near to 0 are 0 where zero means missing (LightGBM's ``kZeroThreshold``)."""


def goes_left(node: Node, value: float) -> bool:
    if node.categories is not None:
        return not math.isnan(value) and value > -1.0 and int(value) in node.categories
    if math.isnan(value) and node.missing is not Missing.NAN:
        value = 0.0
    zero = -ZERO <= value <= ZERO
    if (node.missing is Missing.ZERO and zero) or (node.missing is Missing.NAN and math.isnan(value)):
        return node.default_left
    return value <= node.threshold


def leaf_of(tree: Tree, row: Sequence[float]) -> int:
    at = 0 if tree.nodes else -1
    while at >= 0:
        node = tree.nodes[at]
        at = node.left if goes_left(node, row[node.feature]) else node.right
    return -1 - at


def predict_row(forest: Forest, row: Sequence[float]) -> float:
    """The prediction for one row of ``len(forest.features)`` values; NaN where there is none."""
    total = sum(tree.leaves[leaf_of(tree, row)] for tree in forest.trees)
    if forest.averaged:
        total /= len(forest.trees)
    return linked(total, forest.link)


def linked(total: float, link: Link) -> float:
    if link.name == "sigmoid":
        return 1.0 / (1.0 + math.exp(-link.scale * total))
    return math.exp(total) if link.name == "exp" else total
