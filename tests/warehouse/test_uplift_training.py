"""Uplift end to end: simulated shoppers in an experiment, a model of it, audiences for decisions."""

from __future__ import annotations

import contextlib
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from opportune.cli.edge import run
from opportune.clock import DAY, FixedClock
from opportune.engine.engine import Engine
from opportune.engine.history import read_state, read_trainable
from opportune.engine.model_training import pays
from opportune.engine.versions import Versions
from opportune.engine.workspace import load_workspace
from opportune.errors import InvalidDefinition, InvalidRequest, NotFound
from opportune.simulate.population import Population
from opportune.simulate.settings import Settings
from opportune.simulate.truth import Truth
from opportune.stores.disk import RealDisk
from opportune.warehouse.trials import Past
from opportune.warehouse.uplift_training import UpliftTraining, train_uplift_version

pytest.importorskip("lightgbm", reason="training needs the extra learn")

PEOPLE = 2000
EXPERIMENTS = """
experiments:
  - id: banner
    placements: [home_recs]
    arms: [{id: plain}, {id: bold, change: {sources: [{source: popular}]}}]
  - {id: three, placements: [home_recs], arms: [{id: a}, {id: b}, {id: c}]}
  - {id: by_session, unit: session, arms: [{id: a}, {id: b}]}
  - {id: moving, placements: [pdp_similar], arms: [{id: a}, {id: b}], bandit: {}}
"""
LATER = """
  - id: only_those
    placements: [home_recs]
    audience: {segment.persuadables: true}
    arms: [{id: plain}, {id: bold}]
"""
FEATURES = """
features:
  - {name: tea, fold: count, event: product_viewed, windows: [all], where: {category: Tea}}
  - {name: jam, fold: count, event: product_viewed, windows: [all], where: {category: Jam}}
"""


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Arms that speak strongly to some and repel others; nobody else's business."""
    quiet = {"bots": 0.0, "season": 0.0, "weekday": 0.0}
    return Truth(Population(Settings(shoppers=PEOPLE, arms=2, tastes=2, rate=0.3, taste=4.0, **quiet), 3))


def view(person: int, number: int, category: str) -> dict:
    return {
        "type": "track", "event": "Product Viewed", "userId": f"u{person}",
        "messageId": f"{person}-{category}-{number}",
        "properties": {"product_id": f"{category}{number % 7}", "category": category},
    }  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, truth: Truth) -> tuple[Path, Path]:
    """What shoppers like is seen in what they look at; then they come into the experiment, and some order."""
    folder = tmp_path_factory.mktemp("uplift")
    workspace, data = folder / "workspace", folder / "data"
    workspace.mkdir()
    (workspace / "experiments.yaml").write_text(EXPERIMENTS)
    (workspace / "features.yaml").write_text(FEATURES)
    rng = np.random.default_rng(1)
    looks = np.rint(4 * (1 + truth.population.liking)).astype(int)
    clock = FixedClock()
    chance = truth.chances(np.arange(PEOPLE), clock())
    with Engine.open(data, workspace=workspace, clock=clock) as engine:
        engine.ingest(
            [
                view(person, n, category)
                for person in range(PEOPLE)
                for taste, category in enumerate(("Tea", "Jam"))
                for n in range(looks[person, taste])
            ]
        )
        clock.advance(DAY)
        orders = []
        for person in range(PEOPLE):
            clock.advance(1000)
            [made] = engine.decide(
                {"placement": "home_recs", "identifiers": {"user_id": f"u{person}"}}
            ).decisions
            found = made.experiments if made.experiments else [made.experiment]
            arm = next(e.variant for e in found if e.id == "banner")
            if rng.random() < chance[person, int(arm == "bold")]:
                order = {"order_id": f"o{person}", "revenue": 20.0, "products": []}
                orders.append(
                    {
                        "type": "track", "userId": f"u{person}", "event": "Order Completed",
                        "messageId": f"o{person}", "timestamp": clock() + 500, "properties": order,
                    }
                )  # fmt: skip
        clock.advance(1000)
        engine.ingest(orders)
    return workspace, data


def trained(shop: tuple[Path, Path], **knobs):
    workspace, data = shop
    versions, disk, definitions = (
        Versions(data, "uplift"),
        RealDisk(data, read_only=True),
        load_workspace(workspace),
    )
    return versions, train_uplift_version(
        versions,
        Past(partial(read_trainable, disk, definitions), read_state(disk, definitions)[0].components.members),
        definitions,
        FixedClock().now + 2 * DAY,
        UpliftTraining(**{"experiment": "banner", **knobs}),
    )


@pytest.fixture(scope="module")
def served(shop: tuple[Path, Path]):
    """Trained and made live by the command, then served to an engine whose definitions name it."""
    workspace, data = shop
    command = [
        "train",
        "--model",
        "uplift",
        "--experiment",
        "banner",
        "--promote",
        "--json",
        "--threads",
        "1",
    ]
    said = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(said):
        assert run([*command, "--data-dir", str(data), "--workspace", str(workspace)]) == 0
    said.seek(0)
    told = json.loads(said.read())
    assert told["state"] == "live"
    info = Versions(data, "uplift").model_info(told["version"])
    (workspace / "scores.yaml").write_text("scores: [{name: banner_effect, model: 'live:uplift'}]")
    (workspace / "segments.yaml").write_text(
        "segments:\n"
        "  - {name: persuadables, when: {banner_effect.audience: persuadable}}\n"
        "  - {name: sleeping_dogs, when: {banner_effect.audience: sleeping dog}}\n"
    )
    (workspace / "experiments.yaml").write_text(EXPERIMENTS + LATER)
    with Engine.open(shop[1], workspace=workspace, clock=FixedClock(FixedClock().now + 2 * DAY)) as engine:
        yield engine, info


def test_what_made_a_version_is_in_it(served) -> None:
    _, info = served
    assert info.rows == PEOPLE
    assert info.config["experiment"] == "banner"
    assert (info.config["control"], info.config["arm"], info.config["metric"]) == (
        "plain", "bold", "conversion",
    )  # fmt: skip
    assert info.offsets[0] == 1
    assert info.offsets[1] > PEOPLE
    assert info.window[1] - info.window[0] == (PEOPLE - 1) * 1000
    assert info.metrics["qini_interval"][0] > 0
    assert pays(info)


def test_the_audiences_are_those_of_the_truth(served, truth: Truth) -> None:
    """Persuadables gain by what the simulator knows, sleeping dogs lose; treating by the rule earns more than
    treating nobody, everybody, or as many at random."""
    engine, _ = served
    chance = truth.chances(np.arange(PEOPLE), engine.clock())
    effect = chance[:, 1] - chance[:, 0]
    people = [engine.profile(f"user_id:u{n}") for n in range(0, PEOPLE, 4)]
    effect = effect[::4]
    told = [each["features"]["banner_effect"] for each in people]
    segments = [each["segments"] for each in people]
    write_to = np.array(["persuadables" in names for names in segments])
    let_lie = np.array(["sleeping_dogs" in names for names in segments])
    assert write_to.mean() > 0.1
    assert (effect[write_to] > 0).mean() > 0.9
    assert (effect[let_lie] < 0).mean() > 0.9
    assert write_to.tolist() == [one["treat"] for one in told]
    earned = effect[write_to].sum() / len(effect)
    assert earned > max(0.0, effect.mean(), effect.mean() * write_to.mean()) + 0.02
    for one in told[:50]:
        assert one["low"] <= one["effect"] <= one["high"]
    predicted = np.array([one["uplift"] for one in told])
    assert np.corrcoef(predicted, effect)[0, 1] > 0.7


def test_an_experiment_can_be_for_an_audience(served) -> None:
    engine, _ = served
    asked = {"in": 0, "out": 0}
    for n in range(200):
        person = {"user_id": f"u{n}"}
        treat = engine.profile(f"user_id:u{n}")["features"]["banner_effect"]["treat"]
        [made] = engine.decide({"placement": "home_recs", "identifiers": person}).decisions
        found = {e.id for e in made.experiments or [made.experiment]}
        assert ("only_those" in found) is treat
        asked["in" if treat else "out"] += 1
    assert min(asked.values()) > 10


def test_a_segment_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(
        "experiments: [{id: t, audience: {segment.nobody: true}, arms: [{id: a}, {id: b}]}]"
    )
    with pytest.raises(
        InvalidDefinition, match=r"no such segment, saw 'nobody', at experiments.yaml t audience"
    ):
        load_workspace(tmp_path)


@pytest.mark.parametrize(
    ("knobs", "error", "message"),
    [
        ({"experiment": "nothing"}, NotFound, "no such experiment, saw 'nothing'"),
        ({"metric": "joy"}, NotFound, "no such metric, saw 'joy'"),
        ({"metric": "order_value"}, InvalidRequest, "a number of one person, saw 'order_value: ratio'"),
        ({"experiment": "three"}, InvalidRequest, "say which arm is the treatment, saw 'none'.*one of b, c"),
        ({"experiment": "by_session"}, InvalidRequest, "draws something else, saw 'unit: session'"),
        ({"experiment": "moving"}, InvalidRequest, "a bandit moves its traffic"),
    ],
)
def test_what_cannot_teach_it_is_said(shop, knobs, error, message) -> None:
    with pytest.raises(error, match=message):
        trained(shop, **knobs)
