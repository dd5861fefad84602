"""Placements that optimize: weights over foretold chances, money among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opportune.catalog.amounts import Amounts
from opportune.decide.explain import explain
from opportune.decide.objective import COST
from opportune.errors import InvalidDefinition

ITEMS = [1, 2, 3, 4]
CLICK, BUY = [0.5, 0.4, 0.2, 0.1], [0.02, 0.04, 0.03, 0.02]


class Seer:
    """Knows the chances of four items."""

    name = "ranker/seer"
    outcomes = ("click", "buy")

    def score(self, items: Any, *rest: Any) -> Any:
        return items.astype(np.float32)

    def foretell(self, items: Any, *rest: Any) -> Any:
        at = [ITEMS.index(item) for item in items.tolist()]
        return {"click": np.array(CLICK, np.float32)[at], "buy": np.array(BUY, np.float32)[at]}


def ask(kit: Any, objective: str, costs: dict[str, Any] | None = None) -> Any:
    world = kit.world(
        f"placements: [{{name: p, count: 4, sources: [{{source: content}}], fallbacks: [], {objective}}}]",
        content=ITEMS,
    )
    world.ranker = Seer()
    if costs:
        for item, cost in costs.items():
            world.catalog.upsert(item, {"_cost": cost}, 2_000)
        world.cost = Amounts(world.catalog, COST).of
    return kit.one(world)


def shown(answer: Any) -> list[str]:
    return [item.item_id for item in answer[0].items]


# Item k costs k.
CHANCE = dict(zip(ITEMS, zip(CLICK, BUY, strict=True), strict=True))


@pytest.mark.parametrize(
    ("objective", "worth"),
    [
        ("{click: 1}", lambda k: CHANCE[k][0]),
        ("{buy: 1}", lambda k: CHANCE[k][1] - k * 1e-9),
        ("{revenue: 1}", lambda k: CHANCE[k][1] * k),
        ("{click: 1, buy: 20}", lambda k: CHANCE[k][0] + 20 * CHANCE[k][1]),
        ("{click: 0.1, revenue: 2}", lambda k: 0.1 * CHANCE[k][0] + 2 * CHANCE[k][1] * k),
    ],
)
def test_the_order_is_that_of_the_expected_worth(kit: Any, objective: str, worth: Any) -> None:
    found = ask(kit, f"objective: {objective}")
    assert not [why for why in found[0].degraded if why.startswith("rank")]
    expected = sorted(ITEMS, key=lambda k: -worth(k))
    assert set(shown(found)) == {f"i{k}" for k in ITEMS}
    assert [worth(int(item[1:])) for item in shown(found)] == pytest.approx(
        [worth(k) for k in expected], abs=1e-6
    )
    assert found[0].items[0].score == pytest.approx(1.0)


def test_margin_is_what_the_price_leaves_over_the_cost(kit: Any) -> None:
    # What a purchase leaves: i1 1, i2 2 - 1.5, i3 3 - 2.9 (said as text), i4 4.
    found = ask(kit, "objective: {margin: 1}", {"i2": 1.5, "i3": "2.9"})
    left = {"i1": 0.02 * 1, "i2": 0.04 * 0.5, "i3": 0.03 * 0.1, "i4": 0.02 * 4}
    assert shown(found)[0] == "i4"
    assert shown(found)[-1] == min(left, key=left.__getitem__)


def test_the_record_and_the_explanation_have_the_chances(kit: Any) -> None:
    _, record = ask(kit, "objective: {click: 1, revenue: 2}")
    assert record.inputs["objective"] == {"click": 1, "revenue": 2}
    told = explain(record)
    assert told["objective"] == {"click": 1, "revenue": 2}
    for candidate in told["candidates"]:
        click, buy = CHANCE[int(candidate["item_id"][1:])]
        assert candidate["foretold"] == {"click": pytest.approx(click), "revenue": pytest.approx(buy)}


def test_without_a_model_of_it_the_ranker_ranks_and_the_answer_says_so(kit: Any) -> None:
    found = ask(kit, "objective: {click: 1, cart: 3}")
    assert "rank: ranker/seer has no model of cart" in found[0].degraded
    assert shown(found) == ["i4", "i3", "i2", "i1"]


def test_only_known_outcomes_can_be_weighed(kit: Any) -> None:
    with pytest.raises(InvalidDefinition, match="Invalid enum value 'clicks'"):
        kit.placements("placements: [{name: p, objective: {clicks: 1}}]")
