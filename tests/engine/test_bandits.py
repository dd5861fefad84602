"""An experiment whose traffic follows the rewards, through the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opportune import Engine
from opportune.errors import InvalidDefinition
from opportune.experiments.definitions import parse_experiments

EXPERIMENTS = """
experiments:
- id: hero
  placements: [home_recs]
  unit: session
  arms:
  - {id: calm, change: {content: {tone: calm}}}
  - {id: bold, change: {content: {tone: bold}}}
  bandit: {floor: 0.05}
"""


def opened(folder: Path) -> Engine:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    return Engine.open(folder / "data", workspace=workspace)


def visits(engine: Engine, first: int, count: int) -> list[str]:
    """Sessions that click on the bold hero half of the time, and never on the calm one."""
    rng = np.random.default_rng(first)
    seen = []
    for n in range(first, first + count):
        [decision] = engine.decide(
            {"placement": "home_recs", "identifiers": {"user_id": f"u{n}"}, "session_id": f"s{n}"}
        ).decisions
        seen.append(decision.experiment.variant)
        assert decision.content["tone"] == decision.experiment.variant
        if decision.experiment.variant == "bold" and rng.random() < 0.5:
            engine.ingest(
                {
                    "type": "track",
                    "event": "Product Clicked",
                    "userId": f"u{n}",
                    "properties": {"decision_id": decision.decision_id},
                }
            )
    return seen


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opportune.experiments.bandits.running.REFRESH", 0)


@pytest.mark.usefixtures("no_wait")
def test_traffic_follows_the_rewards_and_is_logged_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        first = visits(engine, 0, 60)
        then = visits(engine, 60, 60)
        assert 10 < first.count("bold") < 60
        assert then.count("bold") > 45
        newest = engine.recent_decisions(1)[0]["decision_id"]
        [word] = engine.record(newest).assignments
        assert word.why == "bandit"
        chooser = engine.state.bandits.chooser("hero", engine.clock())
        share = dict(zip(chooser.bandit.arms, chooser.probabilities(), strict=True))[word.arm]
        assert word.propensity == pytest.approx(share, abs=0.05)
        known = engine.state.bandits.known.learnt["hero"]
    with opened(tmp_path) as engine:
        assert engine.state.bandits.known.learnt["hero"] == known, "what it learnt survives a restart"


@pytest.mark.usefixtures("no_wait")
def test_a_reward_counts_once(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        [decision] = engine.decide(
            {"placement": "home_recs", "identifiers": {"user_id": "u"}, "session_id": "s"}
        ).decisions
        for _ in range(3):
            engine.ingest(
                {
                    "type": "track",
                    "event": "Product Clicked",
                    "userId": "u",
                    "properties": {"decision_id": decision.decision_id},
                }
            )
        sums = engine.state.bandits.known.learnt["hero"].arms[decision.experiment.variant]
    assert (sums.trials, sums.reward) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("bandit", "text"),
    [
        ("{floor: 0.6}", r"the arms' floors together are over 1, saw 1.2, at .*bandit.floor: at most 0.5"),
        ("{}\n  coverage: 0.5", r"a bandit has all of its audience, saw 0.5, at .*coverage: leave it out"),
    ],
)
def test_a_bandit_that_cannot_be_is_refused(bandit: str, text: str) -> None:
    with pytest.raises(InvalidDefinition, match=text):
        parse_experiments(EXPERIMENTS.replace("{floor: 0.05}", bandit))
