"""Bandits through the whole engine: what is logged is what was done, under caps, guards and stock."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from opportune import Engine
from opportune.errors import InvalidDefinition
from opportune.experiments.definitions import parse_experiments

HERO = """
experiments:
- id: hero
  placements: [home_recs]
  unit: session
  arms:
  - {id: calm, change: {content: {tone: calm}}}
  - {id: bold, change: {content: {tone: bold}}}
  - {id: loud, only: {context.loud_ones: {lt: 2}}, change: {content: {tone: loud}}}
  bandit: {floor: 0.1}
"""
LIST = """
experiments:
- id: offers
  placements: [home_recs]
  unit: session
  arms: [{id: a, value: i0}, {id: b, value: i1}, {id: c, value: i2}]
  bandit: {show: 2, floor: 0.1, prior_mean: 0.3, prior_trials: 4}
"""
ITEM = {"a": "i0", "b": "i1", "c": "i2"}


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opportune.experiments.bandits.running.REFRESH", 0)


def opened(folder: Path, experiments: str) -> Engine:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "experiments.yaml").write_text(experiments, encoding="utf-8")
    engine = Engine.open(folder / "data", workspace=workspace)
    items = [{"item_id": f"i{n}", "name": f"Thing {n}", "category": "Mugs", "price": 5.0} for n in range(12)]
    engine.ingest(items, dialect="catalog")
    return engine


def decide(engine: Engine, n: int, **context: Any) -> Any:
    request = {"placement": "home_recs", "identifiers": {"user_id": f"u{n}"}, "session_id": f"s{n}"}
    return engine.decide({**request, "context": context}).decisions[0]


def click(engine: Engine, n: int, decision: Any, item: str = "") -> None:
    properties = {"decision_id": decision.decision_id, **({"product_id": item} if item else {})}
    engine.ingest({"type": "track", "event": "Product Clicked", "userId": f"u{n}", "properties": properties})


def uneven(engine: Engine, rng: np.random.Generator, **context: Any) -> None:
    """Some history, so that the arms' shares differ."""
    for n in range(40):
        decision = decide(engine, -n - 1, **context)
        if rng.random() < {"calm": 0.2, "bold": 0.5}.get(decision.experiment.variant, 0.3):
            click(engine, -n - 1, decision)


@pytest.mark.parametrize("loud_ones", [0, 2])
def test_shares_are_those_logged_also_under_a_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loud_ones: int
) -> None:
    """Chi-square of 800 decisions of new sessions against the logged propensities (seed 1)."""
    with opened(tmp_path, HERO) as engine:
        uneven(engine, np.random.default_rng(1), loud_ones=loud_ones)
        monkeypatch.setattr(engine.state.bandits, "decided", lambda *told: None)  # hold the shares still
        seen: Counter[str] = Counter()
        logged: dict[str, float] = {}
        for n in range(800):
            decision = decide(engine, n, loud_ones=loud_ones)
            [word] = engine.record(decision.decision_id).assignments
            assert decision.content["tone"] == word.arm
            seen[word.arm] += 1
            assert logged.setdefault(word.arm, word.propensity) == word.propensity
        assert set(seen) == ({"calm", "bold", "loud"} if loud_ones < 2 else {"calm", "bold"})
        assert sum(logged.values()) == pytest.approx(1.0)
        arms = sorted(seen)
        assert chisquare([seen[a] for a in arms], [800 * logged[a] for a in arms]).pvalue > 0.01


def test_a_ranking_is_shown_as_it_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probability of a whole list is the product of its propensities (chi-square, 800 lists)."""
    with opened(tmp_path, LIST) as engine:
        for n in range(30):
            decision = decide(engine, -n - 1)
            if n % 2:
                click(engine, -n - 1, decision, "i1")
        monkeypatch.setattr(engine.state.bandits, "decided", lambda *told: None)  # hold the shares still
        seen: Counter[tuple[str, ...]] = Counter()
        chance: dict[tuple[str, ...], float] = {}
        for n in range(800):
            decision = decide(engine, n)
            words = engine.record(decision.decision_id).assignments
            order = tuple(word.arm for word in words)
            assert [i.item_id for i in decision.items[:2]] == [
                {"a": "i0", "b": "i1", "c": "i2"}[a] for a in order
            ]
            seen[order] += 1
            chance[order] = float(np.prod([word.propensity for word in words]))
        orders = sorted(permutations("abc", 2))
        assert sum(chance.values()) == pytest.approx(1.0)
        assert chisquare([seen[o] for o in orders], [800 * chance[o] for o in orders]).pvalue > 0.01
        assert chance["b", "a"] > chance["a", "b"]


def test_what_is_out_of_stock_is_not_ranked_and_the_rest_adds_up(tmp_path: Path) -> None:
    with opened(tmp_path, LIST) as engine:
        engine.ingest([{"item_id": "i1", "in_stock": False}], dialect="catalog")
        for n in range(30):
            words = engine.record(decide(engine, n).decision_id).assignments
            assert sorted(word.arm for word in words) == ["a", "c"]
            assert words[1].propensity == 1.0, "the last of two"


def test_a_list_teaches_as_it_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, LIST.replace("show: 2", "show: 3")) as engine:
        decision = decide(engine, 0)
        order = [word.arm for word in engine.record(decision.decision_id).assignments]

        def learnt() -> list[tuple[float, float]]:
            arms = engine.state.bandits.known.learnt["offers"].arms
            return [(round(arms[arm].trials, 6), arms[arm].reward) for arm in order]

        assert learnt() == [(1, 0), (1, 0), (1, 0)], "without a click all of it was looked at"
        click(engine, 0, decision, ITEM[order[1]])
        assert learnt() == [(1, 0), (1, 1), (0, 0)], "nothing below the click was"
        click(engine, 0, decision, ITEM[order[1]])
        assert learnt() == [(1, 0), (1, 1), (0, 0)], "an arm is rewarded once"
        click(engine, 0, decision, ITEM[order[2]])
        assert learnt() == [(1, 0), (1, 1), (1, 1)]


GUARDED = """
experiments:
- id: hero
  placements: [home_recs]
  unit: session
  arms: [{id: calm, change: {content: {tone: calm}}}, {id: bold, change: {content: {tone: bold}}}]
  bandit: {floor: 0.05, prior_mean: 0.1, guard: {trials: 60, agreement: 0.5, alpha: 0.2}}
"""


def test_an_apprentice_goes_live_and_a_worse_bandit_goes_back(tmp_path: Path) -> None:
    """The bandit is told that bold earns (its history says so), and then it does not: people who see bold
    never click, those who see calm do half of the time (seed 2)."""
    rng = np.random.default_rng(2)
    with opened(tmp_path, GUARDED) as engine:
        why: list[str] = []
        for n in range(500):
            decision = decide(engine, n)
            [word] = engine.record(decision.decision_id).assignments
            why.append(word.why)
            if word.why == "apprentice":
                assert (word.arm, word.propensity) == ("calm", 1.0)
                assert 0 < word.would < 1
            if word.arm == "calm" and rng.random() < (0.5 if word.why == "apprentice" else 0.9):
                click(engine, n, decision)
        assert why[:60] == ["apprentice"] * 60
        assert "bandit" in why
        standing = engine.state.bandits.known.standing["hero"]
        assert standing.watched == why.count("apprentice")
        assert standing.served == why.count("bandit")
    with opened(tmp_path, GUARDED) as engine:
        assert engine.state.bandits.known.standing["hero"] == standing, "it survives a restart"
        for _ in range(400):  # live, and every trial a loss against the baseline
            standing.serve()
            standing.earn(1.0, 0.2, was_baseline=True)
        engine.state.bandits.known.standing["hero"] = standing
        word = engine.record(decide(engine, 9_999).decision_id).assignments[0]
        assert (word.why, word.arm, word.propensity) == ("baseline", "calm", 1.0)


MESSAGES = """
experiments:
- id: mail
  placements: [home_recs]
  unit: session
  factors:
  - id: message
    levels: [{id: calm, change: {content: {message: calm}}}, {id: bold, change: {content: {message: bold}}}]
  - id: channel
    levels: [{id: email, change: {content: {channel: email}}}, {id: push, change: {content: {channel: push}}}]
  - id: hour
    levels: [{id: morning, change: {content: {hour: 8}}}, {id: evening, change: {content: {hour: 19}}}]
  bandit: {shared: true, floor: 0.01, features: [context.young]}
"""


def test_message_channel_and_time_share_what_they_learn(tmp_path: Path) -> None:
    """Bold messages in the evening earn, whatever the channel: found by its parts (seed 3)."""
    rng = np.random.default_rng(3)
    with opened(tmp_path, MESSAGES) as engine:
        shown = []
        for n in range(500):
            decision = decide(engine, n, young=n % 2)
            content = decision.content
            shown.append((content["message"], content["hour"]))
            worth = 0.1 + 0.35 * (content["message"] == "bold") + 0.35 * (content["hour"] == 19)
            if rng.random() < worth:
                click(engine, n, decision)
        chooser = engine.state.bandits.chooser("mail", engine.clock())
        shares = dict(zip(chooser.bandit.arms, chooser.probabilities((1.0,)), strict=True))
        assert shares["bold__email__evening"] + shares["bold__push__evening"] > 0.8
        assert shown[250:].count(("bold", 19)) > 2 * shown[:100].count(("bold", 19))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            LIST.replace("value: i1", "value: i0"),
            r"a ranking needs an item for every arm, .* at .*bandit.show",
        ),
        (
            LIST.replace("show: 2", "show: 2, guard: {}"),
            r"a ranking has no baseline arm, .* at .*bandit.guard",
        ),
        (
            HERO.replace("floor: 0.1", "shared: true"),
            r"a shared model is one over factors, .*: declare factors",
        ),
        (HERO.replace("  bandit: {floor: 0.1}\n", ""), r"only a bandit's arms can be held back, saw 'only'"),
        (HERO.replace("lt: 2", "below: 2"), r"not an operator, saw 'below', at .*loud.only"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidDefinition, match=said):
        parse_experiments(text)
