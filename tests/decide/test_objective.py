"""Placements that optimize: weights over foretold chances, money among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opportune.catalog.amounts import Amounts
from opportune.decide.explain import explain
from opportune.decide.objective import COST, expected
from opportune.engine.shadow import Shadow
from opportune.errors import InvalidDefinition
from opportune.learn.side_by_side import SideBySide
from opportune.recommend.source import Query

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


def test_features_are_computed_once(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ranker that foretells is not asked for its own order too: either costs the features of every
    candidate."""
    asked: list[str] = []
    for name in ("score", "foretell"):
        real = getattr(Seer, name)
        monkeypatch.setattr(
            Seer, name, lambda self, *rest, real=real, name=name: (asked.append(name), real(self, *rest))[1]
        )
    ask(kit, "objective: {click: 1, revenue: 2}")
    assert asked == ["foretell"]


class Watcher:
    """Keeps what it is told."""

    def offer(self, *told: Any) -> None:
        self.told = told


def test_a_ranker_on_trial_is_told_what_every_chance_is_worth(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: p, count: 4, sources: [{source: content}], fallbacks: [], "
        "objective: {click: 2, buy: 3, revenue: 5}}]",
        content=ITEMS,
    )
    world.ranker, world.watch = Seer(), Watcher()
    kit.one(world)
    items, live, worth = world.watch.told[0], world.watch.told[2], world.watch.told[-1]
    assert worth["click"].tolist() == [2.0] * 4
    assert worth["buy"].tolist() == [3.0 + 5.0 * k for k in items.tolist()]  # item k costs k
    assert live.tolist() == expected(Seer().foretell(items), worth).tolist()


def test_a_shadow_ranks_toward_the_objective_too() -> None:
    found = SideBySide(version="s", against="blend")
    shadow = Shadow(Seer(), found, None, every=1)
    items = np.array(ITEMS, np.int32)
    flat = np.ones(4, np.float32)
    query = Query(items, np.zeros(4, np.int8), np.zeros(4, np.float32), 0)
    live = np.array([0.9, 1.0, 0.2, 0.1], np.float32)
    offered = (items, flat, live, flat[None, :], ("content",), query, {}, 1, 0.1)
    # By chance of a click item 1 is first; by that of a purchase item 2, as it is for the live one.
    shadow.offer(*offered, {"click": flat})
    shadow.offer(*offered, {"buy": flat})
    shadow.offer(*offered, {"cart": flat})
    while shadow.step():
        pass
    assert (found.compared, found.same_first, found.failed) == (2, 1, 1)
    assert "ranker/seer has no model of cart" in found.last_failure


def test_only_known_outcomes_can_be_weighed(kit: Any) -> None:
    with pytest.raises(InvalidDefinition, match="Invalid enum value 'clicks'"):
        kit.placements("placements: [{name: p, objective: {clicks: 1}}]")
