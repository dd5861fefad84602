"""A forest as flat arrays in the order in which the kernel reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition
from opportune.recommend.tree_kernel import (
    ABREAST,
    CATEGORY,
    NAN_LEFT,
    NAN_RIGHT,
    SLOT_32,
    SLOT_64,
    ZERO_LEFT,
    ZERO_RIGHT,
)
from opportune.recommend.tree_text import Forest, Missing, Node, Tree

MOST_LEAVES = 64


class Layout(NamedTuple):
    """The order in which the nodes of a tree are tested does not matter, so those that are tested alike stand
    together in a run.

    Of a run: how it is tested (``run_kind``), its tree, the node after its last. Of a node: ``feature``,
    float32 ``threshold``, ``mask`` (the leaves left over when the test fails), ``bits`` (where its set in
    ``category`` begins, how long that is, and which of the ``coded`` features it reads). Runs of ordinary
    tests are filled up to whole ``ABREAST`` with nodes whose mask takes nothing away. ``leaf`` (trees, word
    size): the leaf values, in the slots of their lowest set bit.
    """

    run_kind: npt.NDArray[np.int8]
    run_tree: npt.NDArray[np.int32]
    run_end: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float32]
    mask: npt.NDArray[Any]
    leaf: npt.NDArray[np.float64]
    bits: npt.NDArray[np.int64]
    category: npt.NDArray[np.bool_]
    coded: npt.NDArray[np.int32]


def lay_out(forest: Forest) -> Layout:
    """Flat arrays for the kernel. Raises :class:`InvalidDefinition` for trees of more than 64 leaves."""
    most = max((len(tree.leaves) for tree in forest.trees), default=1)
    if most > MOST_LEAVES:
        raise InvalidDefinition(
            f"trees of at most {MOST_LEAVES} leaves are served", seen=most, remedy="train with num_leaves=31"
        )
    width = 32 if most <= 32 else 64
    full = (1 << width) - 1
    slots = SLOT_32 if width == 32 else SLOT_64
    leaf = np.zeros((len(forest.trees), width))
    runs: list[tuple[int, int, int]] = []
    nodes: list[Node] = []
    masks: list[int] = []
    for number, tree in enumerate(forest.trees):
        order, left_of = _left_to_right(tree)
        for place, which in enumerate(order):
            leaf[number, slots[place]] = tree.leaves[which]
        kinds = [_kind(node) for node in tree.nodes]
        for kind in sorted(set(kinds)) or [CATEGORY]:  # a tree without nodes has an empty run
            alike = [at for at, other in enumerate(kinds) if other == kind]
            nodes += [tree.nodes[at] for at in alike]
            masks += [full & ~left_of[at] for at in alike]
            if kind in (NAN_LEFT, NAN_RIGHT):
                idle = -len(alike) % ABREAST
                nodes += [tree.nodes[alike[0]]] * idle
                masks += [full] * idle
            runs.append((kind, number, len(nodes)))
    coded = sorted({node.feature for node in nodes if node.categories is not None})
    bits = np.zeros((len(nodes), 3), np.int64)
    category = np.zeros(sum(_bits(node) for node in nodes), np.bool_)
    end = 0
    for at, node in enumerate(nodes):
        if node.categories is None:
            continue
        bits[at] = end, _bits(node), coded.index(node.feature)
        category[end + np.array(sorted(node.categories), np.int64)] = True
        end += _bits(node)
    columns = np.array(runs, np.int64).reshape(-1, 3)
    return Layout(
        run_kind=columns[:, 0].astype(np.int8),
        run_tree=columns[:, 1].astype(np.int32),
        run_end=np.ascontiguousarray(columns[:, 2]),
        feature=np.array([node.feature for node in nodes], np.int32),
        threshold=np.array([_float32_at_most(node.threshold) for node in nodes], np.float32),
        mask=np.array(masks, np.uint32 if width == 32 else np.uint64),
        leaf=leaf,
        bits=bits,
        category=category,
        coded=np.array(coded, np.int32),
    )


def _bits(node: Node) -> int:
    """The length of its set: up to the largest member, and one place for all that is outside."""
    return max(node.categories, default=-1) + 2 if node.categories is not None else 0


def _kind(node: Node) -> int:
    if node.categories is not None:
        return CATEGORY
    if node.missing is Missing.ZERO:
        return ZERO_LEFT if node.default_left else ZERO_RIGHT
    nan_left = node.default_left if node.missing is Missing.NAN else node.threshold >= 0.0
    return NAN_LEFT if nan_left else NAN_RIGHT


def _float32_at_most(threshold: float) -> np.float32:
    """The largest float32 not above it: a float32 value is at most the one when it is at most the other."""
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) > threshold else near


def _left_to_right(tree: Tree) -> tuple[list[int], dict[int, int]]:
    """The leaves in order, and of each node the word of the leaves under its left child."""
    order: list[int] = []
    under: dict[int, int] = {}
    left_of: dict[int, int] = {}
    stack = [0 if tree.nodes else -1]
    while stack:
        at = stack.pop()
        if at < 0:
            under[at] = 1 << len(order)
            order.append(-1 - at)
        elif at in left_of:
            under[at] = left_of[at] | under[tree.nodes[at].right]
        elif tree.nodes[at].left in under:
            left_of[at] = under[tree.nodes[at].left]
            stack += [at, tree.nodes[at].right]
        else:
            stack += [at, tree.nodes[at].left]
    return order, left_of
