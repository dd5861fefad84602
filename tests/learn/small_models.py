"""Models written by hand."""

from __future__ import annotations

import msgspec

from opportune.learn.propensity import PropensityModel


def forest(*split_on: int) -> str:
    """One tree of two leaves for each: it asks that column whether it is above a half."""
    trees = "".join(
        f"\nTree={number}\nnum_leaves=2\nnum_cat=0\nsplit_feature={column}\nthreshold=0.5\ndecision_type=2\n"
        "left_child=-1\nright_child=-2\nleaf_value=-1 1\n\n"
        for number, column in enumerate(split_on)
    )
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n"
    names = "feature_names=Column_0 Column_1 Column_2\nobjective=binary sigmoid:1\n"
    return f"{head}{names}{trees}\nend of trees\n"


def propensity(*split_on: int) -> bytes:
    model = PropensityModel(
        features=("orders_all", "spend", "idle"), words={}, forest=forest(*split_on), rows=100, base_rate=0.1
    )
    return msgspec.json.encode(model)
