"""Reading LightGBM's text model: what ``Booster.save_model`` writes, without LightGBM.

LightGBM takes 1.7 s to import and does not belong into the serving process; its text format is public and has
been stable since version 3 (``src/io/tree.cpp``: ``Tree::ToString``, ``Tree::NumericalDecision``,
``Tree::CategoricalDecision``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec
import numpy as np

from opportune.errors import Corrupt, InvalidDefinition

_CATEGORICAL, _DEFAULT_LEFT = 1, 2


class Missing(IntEnum):
    """What counts as missing at a node, as the text model numbers it."""

    NONE = 0
    """Nothing: NaN reads as 0."""
    ZERO = 1
    """Zero, and NaN, which reads as 0."""
    NAN = 2


class Node(NamedTuple):
    """A split. A child >= 0 is a node, a child < 0 is leaf ``-1 - child``.

    Numerical: left when the value is at most ``threshold``; a missing value goes ``default_left``.
    Categorical (``categories`` is not None): left when the value's integer part is one of them; a missing or
    negative value goes right.
    """

    feature: int
    threshold: float
    missing: Missing
    default_left: bool
    categories: frozenset[int] | None
    left: int
    right: int


class Tree(NamedTuple):
    """Nodes with the root first (none where the tree is one leaf), and the value of each leaf."""

    nodes: tuple[Node, ...]
    leaves: tuple[float, ...]


class Link(msgspec.Struct, frozen=True):
    """What happens to the sum of leaves: ``identity`` (rankers, regression), ``sigmoid`` of ``scale`` times
    the sum (binary), or ``exp`` (poisson, gamma, tweedie)."""

    name: str
    scale: float = 1.0


class Forest(msgspec.Struct, frozen=True):
    """An ensemble. ``features`` are the column names in order; ``averaged`` divides the sum by the number of
    trees (random forests)."""

    features: tuple[str, ...]
    trees: tuple[Tree, ...]
    link: Link
    averaged: bool = False


_LINKS = {
    "lambdarank": "identity",
    "rank_xendcg": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "custom": "identity",
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}


def parse_forest(text: str) -> Forest:
    """Read a model. O(nodes): about 0.2 ms a tree of 31 leaves.

    Raises :class:`Corrupt` for what is no such file and :class:`InvalidDefinition` for a model that is not
    served (several classes, linear leaves, an unknown objective).
    """
    head, _, rest = text.partition("\nTree=")
    if not head.startswith("tree"):
        raise Corrupt(
            "this is not a LightGBM text model",
            seen=head[:40],
            remedy="write one with Booster.save_model or Booster.model_to_string",
        )
    if "end of trees" not in rest and "end of trees" not in head:
        raise Corrupt(
            "the LightGBM text model is cut off: 'end of trees' is missing", remedy="save the model again"
        )
    fields = _fields(head)
    if fields.get("num_tree_per_iteration", "1") != "1":
        raise InvalidDefinition(
            "only models with one output are served",
            seen=f"num_tree_per_iteration={fields['num_tree_per_iteration']}",
            remedy="train a ranking, regression or binary objective",
        )
    bodies = rest.partition("end of trees")[0].split("\nTree=") if rest else []
    trees = tuple(_tree(_fields(body), number) for number, body in enumerate(bodies))
    return Forest(
        features=tuple(fields["feature_names"].split()),
        trees=trees,
        link=_link(fields.get("objective", "custom")),
        averaged="average_output" in head.split("\n"),
    )


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _link(objective: str) -> Link:
    name, *parameters = objective.split()
    if name not in _LINKS:
        raise InvalidDefinition(
            "models of this objective are not served", seen=objective, remedy=f"one of {', '.join(_LINKS)}"
        )
    if name == "regression" and "sqrt" in parameters:
        raise InvalidDefinition(
            "regression with reg_sqrt is not served", seen=objective, remedy="train with reg_sqrt=false"
        )
    scale = next((float(p.split(":")[1]) for p in parameters if p.startswith("sigmoid:")), 1.0)
    return Link(_LINKS[name], scale)


def _tree(fields: dict[str, str], number: int) -> Tree:
    if fields.get("is_linear", "0") != "0":
        raise InvalidDefinition(
            f"tree {number} has linear leaves, which are not served",
            seen="is_linear=1",
            remedy="train with linear_tree=false",
        )
    leaves = tuple(map(float, fields["leaf_value"].split()))
    if len(leaves) != int(fields["num_leaves"]):
        raise Corrupt(
            f"tree {number} has {len(leaves)} leaf values", seen=f"num_leaves={fields['num_leaves']}"
        )
    if len(leaves) == 1:
        return Tree((), leaves)
    threshold = tuple(map(float, fields["threshold"].split()))
    decision = tuple(map(int, fields["decision_type"].split()))
    bounds = tuple(map(int, fields.get("cat_boundaries", "0").split()))
    words = tuple(map(int, fields.get("cat_threshold", "").split()))
    columns = [
        tuple(map(int, fields[name].split())) for name in ("split_feature", "left_child", "right_child")
    ]
    if {len(threshold), len(decision), *map(len, columns)} != {len(leaves) - 1}:
        raise Corrupt(f"the columns of tree {number} do not have {len(leaves) - 1} nodes")
    nodes = []
    for at, (feature, left, right) in enumerate(zip(*columns, strict=True)):
        categories = None
        if decision[at] & _CATEGORICAL:
            which = int(threshold[at])
            categories = _members(words[bounds[which] : bounds[which + 1]])
        nodes.append(
            Node(
                feature=feature,
                threshold=threshold[at],
                missing=Missing(decision[at] >> 2 & 3),
                default_left=bool(decision[at] & _DEFAULT_LEFT),
                categories=categories,
                left=left,
                right=right,
            )
        )
    return Tree(tuple(nodes), leaves)


def _members(words: tuple[int, ...]) -> frozenset[int]:
    """The set bits of a bitset in words of 32 bits."""
    bits = np.unpackbits(np.array(words, dtype="<u4").view(np.uint8), bitorder="little")
    return frozenset(np.flatnonzero(bits).tolist())
