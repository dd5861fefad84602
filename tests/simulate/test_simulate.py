from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from opportune import Engine
from opportune.clock import DAY
from opportune.experiments.bandits.policy import Bandit
from opportune.simulate.contenders import FixedSplit, Learning, ShipTheWinner
from opportune.simulate.drive import drive
from opportune.simulate.population import Population
from opportune.simulate.settings import Settings
from opportune.simulate.trial import regret
from opportune.simulate.truth import Truth
from opportune.simulate.visits import Answer, Visits

T0 = 1_760_000_000_000
SMALL = Settings(shoppers=2000)


def test_the_seed_decides_who_they_are() -> None:
    one, two, other = Population(SMALL, 1), Population(SMALL, 1), Population(SMALL, 2)
    assert np.array_equal(one.liking, two.liking)
    assert np.array_equal(one.device, two.device)
    assert not np.array_equal(one.liking, other.liking)


def test_shares_are_as_set() -> None:
    """Within 4 standard errors of 2,000 shoppers (seed 3)."""
    population = Population(SMALL, 3)
    for flags, share in ((population.bot, 0.02), (population.refuses, 0.1), (population.second >= 0, 0.3)):
        assert flags.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))
    assert len(np.unique(population.device)) == 2000 - 0.05 * 2000 / 2
    assert not (population.logs_in & population.bot).any()


def test_the_true_identity_is_every_shoppers_devices() -> None:
    population = Population(Settings(shoppers=40, shared=0.1, several=0.5), 1)
    people = population.people()
    assert len(people) == 40
    owners: dict[str, int] = {}
    for devices in people.values():
        for device in devices:
            owners[device] = owners.get(device, 0) + 1
    assert sorted(owners.values())[-2:] == [2, 2], "two pairs share a device"
    assert sum(n == 2 for n in owners.values()) == 2


def test_without_taste_the_lift_is_what_was_set() -> None:
    flat = Settings(shoppers=5000, arms=3, taste=0.0, lift=0.4, season=0.0, weekday=0.0, bots=0.0)
    population = Population(flat, 1)
    truth = Truth(population)
    odds = np.log(0.08 / 0.92) + population.eager
    control, best = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-odds - 0.4))
    assert truth.lift(2, 0, T0) == pytest.approx((best - control).mean())
    assert truth.lift(0, 0, T0) == 0.0
    assert set(truth.best(np.arange(100), T0).tolist()) == {2}


def test_newness_wears_off() -> None:
    truth = Truth(Population(Settings(shoppers=10, novelty=1.0, novelty_views=2, bots=0.0), 1))
    one = np.array([0])
    fresh, half, worn = (truth.chances(one, T0, np.full((1, 5), v))[0, 0] for v in (0, 1, 2))
    assert fresh > half > worn == truth.chances(one, T0)[0, 0]


def test_the_season_peaks_in_november_and_weekends_are_better() -> None:
    truth = Truth(Population(SMALL, 1))
    november, may = 330 * DAY, 150 * DAY
    assert truth.swing(november - november // DAY % 7 * DAY) > truth.swing(may - may // DAY % 7 * DAY)
    assert truth.swing(2 * DAY) - truth.swing(1 * DAY) == pytest.approx(0.15, abs=0.01), (
        "1970-01-03, a Saturday"
    )


def test_bots_never_respond_and_higher_places_are_clicked_more() -> None:
    population = Population(Settings(shoppers=300, bots=0.5, rate=0.5, refuse=0.0), 1)
    visits = Visits(Truth(population), 1, T0, T0 + 10 * DAY, per_day=1.0)
    places = np.zeros(3)
    for visit in visits:
        events = visits.events(visit, Answer("d", 0, ("a", "b", "c")))
        if population.bot[visit.shopper]:
            assert len(events) == 1
            assert "crawler" in events[0]["context"]["userAgent"]
        for event in events:
            if event["event"] == "Product Clicked":
                places["abc".index(event["properties"]["product_id"])] += 1
    assert places[0] > places[1] > places[2] > 0
    assert places[1] / places[0] == pytest.approx(0.7, abs=0.12)


def test_purchases_come_later() -> None:
    visits = Visits(Truth(Population(Settings(shoppers=300, rate=0.5), 1)), 1, T0, T0 + 5 * DAY, 1.0)
    waits = []
    for visit in visits:
        events = visits.events(visit, Answer("d", 1, ("a",)))
        if events[-1]["event"] == "Order Completed":
            bought = np.datetime64(events[-1]["timestamp"][:-6], "ms").astype(np.int64)
            waits.append((bought - visit.time) / 3_600_000)
    assert len(waits) > 100
    assert np.mean(waits) == pytest.approx(6.0, rel=0.25)


def test_who_refuses_says_so() -> None:
    visits = Visits(Truth(Population(Settings(shoppers=20, refuse=1.0), 1)), 1, T0, T0 + 2 * DAY, 1.0)
    visit = next(iter(visits))
    [event, *_] = visits.events(visit, Answer("", -1, ()))
    assert event["context"]["consent"] == {"categoryPreferences": {"Advertising": False, "Analytics": False}}


class InProcess:
    """The two hot routes, without a network."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/batch":
            self.engine.ingest(body["batch"])
            return {"success": True}
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.engine.decide(body)))
        return found


def test_shoppers_go_through_the_engine(tmp_path: Path) -> None:
    visits = Visits(Truth(Population(Settings(shoppers=60, arms=2), 1)), 1, T0, T0 + DAY, per_day=1.0)
    with Engine.open(tmp_path / "data") as engine:
        engine.ingest([{"item_id": f"i{n}", "name": f"Item {n}"} for n in range(12)], dialect="catalog")
        told = drive(InProcess(engine), visits, placement="home_recs", arms=["control", "bold"])
        accounts = engine.accounting()
    report = told.report()
    assert report["visits"] == report["decisions"] == len(visits) > 30
    assert report["arms"]["control"]["shown"] == len(visits), (
        "no experiment runs: everybody has the first arm"
    )
    assert report["arms"]["control"]["true_lift"] == 0.0
    assert report["lost"] > 0
    assert sum(source["received"] for source in accounts["sources"].values()) == report["events"] + 12


def test_regret_of_a_fixed_split_is_what_it_gives_away() -> None:
    truth = Truth(Population(Settings(shoppers=500, arms=3, bots=0.0, season=0.0, weekday=0.0), 1))
    found = regret(truth, FixedSplit(3), 3000, seed=1)
    chance = truth.chances(np.arange(500), T0)
    expected = 3000 * float((chance.max(axis=1) - chance.mean(axis=1)).mean())
    assert found.total == pytest.approx(expected, rel=0.1)
    assert found.shares == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_contextual_bandit_loses_less_than_half_of_a_fixed_split() -> None:
    truth = Truth(Population(Settings(shoppers=2000, arms=3, tastes=3, bots=0.0), 1))
    arms = ("a", "b", "c")
    bandit = Bandit(arms, features=("x", "y", "z"), prior_mean=0.08, prior_trials=10)
    ours = regret(truth, Learning(bandit), 6000, seed=1).total
    assert ours < 0.5 * regret(truth, FixedSplit(3), 6000, seed=1).total
    assert ours < 0.5 * regret(truth, ShipTheWinner(3, 600), 6000, seed=1).total


def test_late_responses_are_told_late() -> None:
    truth = Truth(Population(Settings(shoppers=100, arms=2, bots=0.0), 1))
    learnt = []

    class Watching(FixedSplit):
        def learn(self, arm: int, x: tuple[float, ...], time: int, reward: float) -> None:
            learnt.append(time)

    regret(truth, Watching(2), 100, seed=1, delay=lambda u: 50_000)
    assert len(learnt) == 50, "the other half is still to come"
