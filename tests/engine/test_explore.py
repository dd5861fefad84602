"""Exploration makes the log speak: replay answers with an interval that holds the simulated truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from opportune import Engine
from opportune.decide.explore import explore
from opportune.decide.placement import Explore, read_placements
from opportune.decide.policy import Verdict

PATIENT = "budget_ms: {total: 60000, candidates: 60000, rank: 60000, policy: 60000, content: 60000}"
SHELF = f"placements:\n- {{name: shelf, sources: [{{source: popular}}], count: 3, {PATIENT}, "
NOW = SHELF + "explore: {share: 0.3, pool: 6}}\n"
NEW = SHELF + "rules: [{pin: i4, rank: 1}]}\n"
OUT_OF_REACH = SHELF + "rules: [{pin: i9, rank: 1}]}\n"
APPEAL = np.array([0.2, 0.2, 0.15, 0.1, 0.6, 0.1, 0.1, 0.05, 0.05, 0.9])
LOOKED_AT = np.array([1.0, 0.7, 0.5])


def verdict(pinned: frozenset[int] = frozenset()) -> Verdict:
    return Verdict([5, 2, 7], [0, 1, 3, 4], np.zeros(8, np.float32), {}, {}, {}, {}, pinned)


def test_what_is_logged_is_what_is_drawn() -> None:
    """20,000 draws: each place's items against the propensities that were logged for them (chi-square)."""
    seen: list[Counter[int]] = [Counter(), Counter(), Counter()]
    logged: dict[tuple[int, int], float] = {}
    for n in range(20_000):
        shown = verdict()
        found = explore(shown, Explore(0.4, 5), f"d{n}")
        assert len(set(shown.shown)) == 3
        assert sorted(shown.shown + shown.rest) == [0, 1, 2, 3, 4, 5, 7]
        for place, at in enumerate(shown.shown):
            seen[place][at] += 1
            assert logged.setdefault((place, at), found.propensities[place]) == found.propensities[place]
    assert logged[0, 5] == pytest.approx(0.6 + 0.4 / 5)
    for place, counts in enumerate(seen):
        items = sorted(counts)
        assert len(items) == 5
        expected = [20_000 * logged[place, at] for at in items]
        assert sum(expected) == pytest.approx(20_000)
        assert chisquare([counts[at] for at in items], expected).pvalue > 0.01


def test_pins_stay_where_they_are() -> None:
    for n in range(200):
        shown = verdict(frozenset((2,)))
        found = explore(shown, Explore(0.5, 4), f"d{n}")
        assert (shown.shown[1], found.propensities[1]) == (2, 1.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """1,200 shoppers who like what they like (seed 1); likes teach the sources nothing."""
    folder = tmp_path_factory.mktemp("explore")
    (folder / "placements.yaml").write_text(NOW, encoding="utf-8")
    engine = Engine.open(folder / "data", workspace=folder)
    engine.ingest([{"item_id": f"i{n}", "name": f"Item {n}"} for n in range(10)], dialect="catalog")
    views = [(f"v{n}", f"i{item}") for item in range(10) for n in range(60 - 5 * item)]
    engine.ingest(
        [
            {"type": "track", "event": "Product Viewed", "userId": who, "properties": {"product_id": item}}
            for who, item in views
        ]
    )
    rng = np.random.default_rng(1)
    likes = []
    for n in range(1_200):
        [decision] = engine.decide({"placement": "shelf", "identifiers": {"user_id": f"s{n}"}}).decisions
        for place, item in enumerate(decision.items):
            if rng.random() < APPEAL[int(item.item_id[1:])] * LOOKED_AT[place]:
                properties = {"product_id": item.item_id, "decision_id": decision.decision_id}
                likes.append({"type": "track", "event": "liked", "userId": f"s{n}", "properties": properties})
    engine.ingest(likes)
    return engine


def worth(*items: int) -> float:
    return float((APPEAL[list(items)] * LOOKED_AT).mean())


def test_replay_answers_with_an_interval_that_holds_the_truth(engine: Engine) -> None:
    found = engine.what_if(read_placements(NEW), since=0, kinds=("liked",))
    assert found.judged, found.verdict
    estimate = found.estimates["snips"]
    assert estimate["low"] < worth(4, 0, 1) < estimate["high"]
    assert estimate["high"] - estimate["low"] < 0.15
    assert found.verdict.startswith("better: ")
    assert found.drift == 0.0, "exploration is not drift"


def test_the_present_placements_come_out_the_same_and_as_they_would_without_exploring(engine: Engine) -> None:
    found = engine.what_if(read_placements(NOW), since=0, kinds=("liked",))
    assert found.verdict == "nothing would have changed: every decision comes out the same"
    estimate = found.estimates["snips"]
    assert estimate["low"] < worth(0, 1, 2) < estimate["high"]


def test_what_no_place_could_have_got_is_not_judged(engine: Engine) -> None:
    found = engine.what_if(read_placements(OUT_OF_REACH), since=0, kinds=("liked",))
    assert not found.judged
    assert "33% of what the new policy would show was never shown by the logged one" in found.verdict
