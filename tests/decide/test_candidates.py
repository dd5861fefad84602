"""Asking, cleaning, blending and topping up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opportune.decide.candidates import Pool, clean, empty_pool
from opportune.decide.plan import plan_of
from opportune.recommend.source import Candidates

NOW = 1_760_000_000_000


def candidates(items: list[int], scores: list[float] | None = None) -> Candidates:
    score = scores if scores is not None else [1.0 / (k + 1) for k in range(len(items))]
    return Candidates(
        np.array(items, np.int32), np.array(score, np.float32), np.full(len(items), -1, np.int32)
    )


def placement(kit: Any, text: str = "") -> Any:
    return kit.placements(
        f"placements: [{{name: p, sources: [{{source: content}}, {{source: session_knn}}]{text}}}]"
    ).get("p")


def test_names_stand_for_bits_in_the_order_of_the_placement(kit: Any) -> None:
    plan = plan_of(placement(kit, ", fallbacks: [popular, content, default]"))
    assert plan.stages == ("candidates.content", "candidates.session_knn")
    assert plan.names == ("content", "session_knn", "given", "popular", "default", "pinned")


@pytest.mark.parametrize(
    ("items", "scores", "expected"),
    [
        ([1, 2], [0.5, 0.4], [1, 2]),
        ([1, 2], [float("nan"), 0.4], [2]),
        ([1, 2, 3], [float("inf"), 0.4, float("-inf")], [2]),
        ([-1, 5, 2], [0.5, 0.4, 0.3], [2]),
        ([], [], []),
    ],
)
def test_only_known_numbers_with_finite_scores_stay(
    items: list[int], scores: list[float], expected: list[int]
) -> None:
    cleaned = clean(candidates(items, scores), n_items=5)
    assert cleaned.item.tolist() == expected
    assert len(cleaned.score) == len(cleaned.because) == len(expected)


def test_a_fallback_adds_only_what_is_new_in_its_order(kit: Any) -> None:
    pool: Pool = empty_pool(placement(kit))
    pool.add("popular", candidates([5, 3, 5, 9], [4.0, 2.0, 1.0, 1.0]), tier=1)
    pool.add("default", candidates([3, 7]), tier=2)
    assert pool.item.tolist() == [5, 3, 9, 7]
    assert pool.score.tolist() == [1.0, 0.5, 0.25, 0.5]
    assert pool.tier.tolist() == [1, 1, 1, 2]
    assert [pool.names[int(bits).bit_length() - 1] for bits in pool.sources] == ["popular"] * 3 + ["default"]
    assert pool.proposed == {"popular": 3, "default": 2}


def test_weights_say_how_much_a_source_counts(kit: Any) -> None:
    text = "placements: [{name: p, sources: [{source: content, weight: %s}, {source: session_knn}]}]"
    content = kit.FixedSource("content", "similar", [1, 2], [10.0, 5.0])
    knn = kit.FixedSource("session_knn", "viewed_together", [3, 2], [0.02, 0.012])
    light = kit.one(kit.world(text % 0.5, content=content, session_knn=knn))[0]
    # i3: 1.0; i2: 0.5 x 5/10 + 0.012/0.02 = 0.85; i1: 0.5
    assert [(i.item_id, i.score) for i in light.items] == [("i3", 1.0), ("i2", 0.85), ("i1", 0.5)]
    heavy = kit.one(kit.world(text % 2, content=content, session_knn=knn))[0]
    # i1: 2; i2: 2 x 5/10 + 0.6 = 1.6; i3: 1; all divided by the largest
    assert [(i.item_id, i.score) for i in heavy.items] == [("i1", 1.0), ("i2", 0.8), ("i3", 0.5)]


def test_the_pool_bounds_what_is_considered(kit: Any) -> None:
    world = kit.world("placements: [{name: p, pool: 2, sources: [{source: content}]}]", content=[1, 2, 3, 4])
    assert kit.shown(world) == ["i1", "i2"]
    assert world.sources["content"].asked[0].count == 2


def test_sources_that_agree_are_both_named(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: p, sources: [{source: content}, {source: session_knn}]}]",
        content=[1],
        session_knn=[1, 2],
    )
    _, record = kit.one(world)
    assert record.sources == [0b11, 0b10]


def test_a_source_with_wrong_numbers_spoils_nothing(kit: Any) -> None:
    world = kit.world(
        "placements: [{name: p, sources: [{source: content}, {source: session_knn}]}]",
        content=[2**31 - 1, -7, 3],
        session_knn=[3, 4],
    )
    decision, _ = kit.one(world)
    assert [i.item_id for i in decision.items] == ["i3", "i4"]
    assert not [why for why in decision.degraded if "Error" in why]


def test_huge_scores_are_not_taken_for_broken_ones(kit: Any) -> None:
    content = kit.FixedSource("content", "similar", [1, 2], [3e38, 1e38])
    world = kit.world("placements: [{name: p, sources: [{source: content}]}]", content=content)
    decision, _ = kit.one(world)
    assert [i.score for i in decision.items] == pytest.approx([1.0, 1 / 3], abs=1e-6)
