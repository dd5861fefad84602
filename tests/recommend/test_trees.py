"""Trees: the text model read right, the kernel equal to the readable walker and to LightGBM itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.errors import Corrupt, InvalidDefinition
from opportune.recommend.tree_layout import lay_out
from opportune.recommend.tree_reference import goes_left, predict_row
from opportune.recommend.tree_scorer import TreeScorer, room_for
from opportune.recommend.tree_text import Forest, Link, Missing, Node, Tree, parse_forest

DATA = Path(__file__).parent / "trees"
MODELS = sorted(path.stem for path in DATA.glob("*.txt"))


@pytest.fixture(scope="module")
def lightgbm() -> ModuleType:
    return pytest.importorskip("lightgbm", reason="the `learn` extra is not installed")


@pytest.mark.parametrize("name", MODELS)
def test_predictions_written_by_lightgbm_come_back(name: str) -> None:
    """``trees/*.json`` holds rows with missing, negative, unseen and broken categories, zeros and NaN."""
    wanted = json.loads((DATA / f"{name}.json").read_text())
    scorer = TreeScorer.from_text((DATA / f"{name}.txt").read_text())
    rows = np.array([[math.nan if v is None else v for v in row] for row in wanted["rows"]], dtype=np.float32)
    np.testing.assert_allclose(scorer.score(np.ascontiguousarray(rows.T)), wanted["expected"], rtol=1e-12)
    readable = [predict_row(scorer.forest, row) for row in rows.astype(float).tolist()]
    np.testing.assert_allclose(readable, wanted["expected"], rtol=1e-12)
    assert scorer.features == ("knn_score", "knn_rank", "same_price", "category", "dwell", "repeat")


@pytest.mark.parametrize("leaves", [31, 64])
@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_equals_booster_predict_in_value_and_order(
    lightgbm: ModuleType, leaves: int, zero_as_missing: bool
) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4000, 12)).astype(np.float32)
    rows[:, 3] = rng.integers(0, 70, len(rows))
    rows[:, 7] = np.where(rng.random(len(rows)) < 0.5, 0, rows[:, 7])
    rows[rng.random(rows.shape) < 0.1] = np.nan
    relevance = (np.nan_to_num(rows).sum(axis=1) + np.nan_to_num(rows[:, 3]) % 4 > 2).astype(int)
    data = lightgbm.Dataset(rows, relevance, group=[40] * 100, categorical_feature=[3])
    parameters = {
        "objective": "lambdarank",
        "num_leaves": leaves,
        "zero_as_missing": zero_as_missing,
        "verbose": -1,
        "num_threads": 1,
        "seed": 1,
    }
    booster = lightgbm.train(parameters, data, 30)
    ours = TreeScorer.from_text(booster.model_to_string()).score(np.ascontiguousarray(rows[:500].T))
    theirs = booster.predict(rows[:500].astype(np.float64))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.argsort(-ours, kind="stable").tolist() == np.argsort(-theirs, kind="stable").tolist()


VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, 1e-36, -1e-36, -1.0, -0.5, 0.5, 2.0, 2.7, 31.0, 32.0, 1e30]),
    st.floats(-3, 40, width=32),
)


@st.composite
def trees(draw: st.DrawFn, features: int) -> Tree:
    """A random tree of up to 64 leaves, grown by splitting any leaf."""
    nodes: list[Node] = []
    leaves = 1
    for _ in range(draw(st.sampled_from([0, 1, 2, 5, 31, 40, 63]))):
        at = len(nodes)
        categories = draw(st.none() | st.frozensets(st.integers(0, 40), max_size=5))
        node = Node(
            feature=draw(st.integers(0, features - 1)),
            threshold=draw(st.floats(-2, 3)),
            missing=draw(st.sampled_from(Missing)),
            default_left=draw(st.booleans()),
            categories=categories,
            left=-1,
            right=-1 - leaves,
        )
        if nodes:  # in the place of a leaf
            split = draw(st.integers(0, leaves - 1))
            for parent, other in enumerate(nodes):
                if other.left == -1 - split:
                    nodes[parent] = other._replace(left=at)
                if other.right == -1 - split:
                    nodes[parent] = other._replace(right=at)
            node = node._replace(left=-1 - split)
        nodes.append(node)
        leaves += 1
    return Tree(tuple(nodes), tuple(float(2**-i) for i in range(leaves)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_kernel_is_the_readable_walker(data: st.DataObject) -> None:
    forest = Forest(
        features=("a", "b", "c"),
        trees=tuple(data.draw(trees(3)) for _ in range(data.draw(st.integers(1, 3)))),
        link=Link("identity"),
    )
    rows = data.draw(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=9))
    matrix = np.array(rows, np.float32)
    expected = [predict_row(forest, row) for row in matrix.astype(float).tolist()]
    assert TreeScorer(forest).score(np.ascontiguousarray(matrix.T)).tolist() == expected


def test_a_threshold_between_two_float32_values_splits_them() -> None:
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    for threshold, goes in ((float(low), 1.0), ((float(low) + float(high)) / 2, 1.0), (float(high), 2.0)):
        node = Node(0, threshold, Missing.NONE, False, None, -1, -2)
        forest = Forest(("a",), (Tree((node,), (1.0, 0.0)),), Link("identity"))
        assert TreeScorer(forest).score(np.array([[low, high]], np.float32)).sum() == goes


def test_rows_beyond_a_block_are_scored_too() -> None:
    scorer = TreeScorer.from_text((DATA / "ranker.txt").read_text())
    columns = np.random.default_rng(1).normal(size=(6, 300)).astype(np.float32)
    whole = scorer.score(columns)
    assert whole.shape == (300,)
    assert whole.tolist() == [float(scorer.score(columns[:, [at]])[0]) for at in range(300)]
    assert (room_for(100), room_for(128), room_for(129)) == (128, 128, 256)


def test_where_nan_goes() -> None:
    node = Node(0, -1.0, Missing.NONE, True, None, -1, -2)
    assert not goes_left(node, math.nan)  # reads as 0, which is above -1
    assert goes_left(node._replace(missing=Missing.NAN), math.nan)
    assert goes_left(node._replace(missing=Missing.ZERO), 0.0)
    assert not goes_left(node._replace(categories=frozenset({0})), math.nan)


def test_what_cannot_be_served_is_refused_with_a_remedy() -> None:
    text = (DATA / "ranker.txt").read_text()
    with pytest.raises(
        Corrupt, match=r"not a LightGBM text model, saw '\{\}': write one with Booster.save_model"
    ):
        parse_forest("{}")
    with pytest.raises(Corrupt, match="cut off: 'end of trees' is missing: save the model again"):
        parse_forest(text[: len(text) // 2])
    with pytest.raises(InvalidDefinition, match="only models with one output are served"):
        parse_forest(text.replace("num_tree_per_iteration=1", "num_tree_per_iteration=3"))
    with pytest.raises(InvalidDefinition, match="objective are not served, saw 'multiclass num_class:3'"):
        parse_forest(text.replace("objective=regression", "objective=multiclass num_class:3"))
    with pytest.raises(InvalidDefinition, match="reg_sqrt is not served"):
        parse_forest(text.replace("objective=regression", "objective=regression sqrt"))
    with pytest.raises(InvalidDefinition, match="tree 0 has linear leaves"):
        parse_forest(text.replace("is_linear=0", "is_linear=1", 1))
    with pytest.raises(Corrupt, match="tree 0 has 8 leaf values, saw 'num_leaves=9'"):
        parse_forest(text.replace("num_leaves=8", "num_leaves=9", 1))
    with pytest.raises(
        InvalidDefinition, match=r"reads 6 features, one a row of the matrix, saw 'shape \(5, 2\)'"
    ):
        TreeScorer.from_text(text).score(np.zeros((5, 2), np.float32))
    with pytest.raises(InvalidDefinition, match="trees of at most 64 leaves are served, saw 65"):
        lay_out(Forest(("a",), (Tree((), (0.0,) * 65),), Link("identity")))
