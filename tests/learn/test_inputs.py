"""What a model is given, and what of it changes any of its answers."""

from __future__ import annotations

import msgspec
import pytest
from tests.learn.small_models import forest, propensity

from opportune.errors import InvalidDefinition
from opportune.learn.buying import BuyingModel
from opportune.learn.inputs import Inputs, inputs_of
from opportune.learn.scores import Score
from opportune.learn.uplift import Part, Slope, UpliftModel

SCORE = Score(name="s", model="m.json")


@pytest.mark.parametrize(
    ("split_on", "used"), [((0,), ("orders_all",)), ((2, 0, 2), ("orders_all", "idle")), ((), ())]
)
def test_a_propensity_uses_what_some_tree_asks(split_on: tuple[int, ...], used: tuple[str, ...]) -> None:
    assert inputs_of(SCORE, propensity(*split_on)) == Inputs(("orders_all", "spend", "idle"), used)


def test_an_uplift_uses_what_a_tree_asks_or_a_line_has_a_slope_for() -> None:
    """The column after the last feature is the treatment, which is nobody's feature."""
    line = Slope(0.0, (0.0, 1.5), (0.0, 0.0), (0.0, 0.0), (1.0, 1.0))
    for parts, used in (
        ((Part(1.0, forest(0, 2), 1.0), Part(-1.0, forest(2), 0.0)), ("a",)),
        ((Part(1.0, line=line),), ("b",)),
        ((Part(0.5, forest(0), 1.0), Part(0.5, line=line)), ("a", "b")),
    ):
        model = UpliftModel(features=("a", "b"), words={}, parts=parts, groups=(), learner="x", rows=9)
        assert inputs_of(SCORE, msgspec.json.encode(model)) == Inputs(("a", "b"), used)


def test_a_model_of_buying_uses_what_was_spent_only_for_values() -> None:
    data = msgspec.json.encode(BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426))
    three = ("orders_all", "order_recency", "order_age")
    assert inputs_of(SCORE, data).used == three
    value = Score(name="s", model="m.json", what="value", spending="x.json", spent="spend_30d")
    assert inputs_of(value, data).used == (*three, "spend_30d")


@pytest.mark.parametrize("data", [b"{", b'{"kind": "propensity"}', b'{"kind": "cat"}'])
def test_what_is_no_model_is_said_with_the_score(data: bytes) -> None:
    with pytest.raises(InvalidDefinition, match=r"not a model file .*, at the score s: train it again"):
        inputs_of(SCORE, data)
