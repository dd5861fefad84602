"""Uplift served: what is served is what was trained, without LightGBM, and its audiences are features."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from opportune.errors import InvalidDefinition
from opportune.experiments.uplift.learners import Learner, Mean
from opportune.experiments.uplift.selection import standard_learners
from opportune.learn.propensity import columns_of
from opportune.learn.scores import Score, ScoreSet, compiled
from opportune.learn.uplift import Uplift, UpliftModel, served_parts, train_uplift
from opportune.profiles.segments import parse_segments

pytest.importorskip("lightgbm", reason="training needs the extra learn")


def trial(n: int = 8000):
    """Those with the plan gold buy 35 points more often when written to, others who look much 25 less."""
    rng = np.random.default_rng(6)
    rows = [
        {"views": int(v), "plan": str(p), "same": 1}
        for v, p in zip(rng.integers(0, 20, n), rng.choice(["gold", "tin"], n), strict=True)
    ]
    effect = np.array([0.35 if r["plan"] == "gold" else -0.25 if r["views"] > 9 else 0.0 for r in rows])
    treated = rng.random(n) < 0.5
    outcome = (rng.random(n) < 0.35 + effect * treated).astype(float)
    return rows, treated, outcome, effect


@pytest.fixture(scope="module")
def trained():
    rows, treated, outcome, effect = trial()
    return *train_uplift(rows, treated, outcome), effect


def test_the_model_that_is_served_knows_who_changes(trained) -> None:
    model, measured, effect = trained
    assert "same" not in model.features
    served = Uplift(msgspec.json.decode(msgspec.json.encode(model), type=UpliftModel))
    gold, much, little = (
        served.read({"views": v, "plan": p}) for v, p in ((3, "gold"), (15, "tin"), (3, "tin"))
    )
    assert gold["audience"] == "persuadable"
    assert gold["treat"]
    assert gold["low"] < 0.35 < gold["high"]
    assert gold["uplift"] == pytest.approx(0.35, abs=0.08)
    assert much["audience"] == "sleeping dog"
    assert much["high"] < 0
    assert not little["treat"]
    assert measured["effect"] == pytest.approx(effect.mean(), abs=0.03)
    assert measured["qini_interval"][0] > 0
    assert sum(measured["audiences"].values()) == 4000


@pytest.mark.parametrize("name", ["s", "t", "x", "dr", "dr, linear", "average"])
def test_what_is_served_is_what_the_learner_says(name: str) -> None:
    rows, treated, outcome, _ = trial(1500)
    x = columns_of(rows, ("views", "plan"), {"plan": ("gold", "tin")}).T.astype(np.float64)
    made = {each: make() for each, make in standard_learners(binary=True).items()}
    learner: Learner = Mean(list(made.values())) if name == "average" else made[name]
    learner.fit(x, treated.astype(float), outcome)
    model = UpliftModel(
        features=("views", "plan"),
        words={"plan": ("gold", "tin")},
        parts=served_parts(learner),
        groups=(),
        learner=name,
        rows=1500,
    )
    assert Uplift(model).predict(rows) == pytest.approx(learner.uplift(x), abs=1e-6)


def test_audiences_are_segments(trained) -> None:
    model = trained[0]
    scores = compiled(
        ScoreSet((Score(name="mail", model="m.json"),)), {"m.json": msgspec.json.encode(model)}.__getitem__
    )
    segments = parse_segments(
        "segments:\n"
        "  - {name: write_to, when: {mail.treat: true}}\n"
        "  - {name: let_lie, when: {mail.audience: sleeping dog}}\n"
        "  - {name: surely, when: {mail.low: {gt: 0.1}}}\n",
        known=frozenset({"mail"}),
    )

    def of(**features: object) -> list[str]:
        return segments.of({**features, "mail": scores["mail"](features)})

    assert of(views=3, plan="gold") == ["write_to", "surely"]
    assert of(views=15, plan="tin") == ["let_lie"]
    assert of(views=3, plan="tin") == []


def test_without_an_effect_nobody_is_to_be_treated() -> None:
    rows, treated, _, _ = trial(1600)
    outcome = (np.random.default_rng(8).random(1600) < 0.3).astype(float)
    model, measured = train_uplift(rows, treated, outcome)
    assert {group.audience for group in model.groups} <= {"sure thing", "lost cause"}
    assert measured["qini_interval"][0] < 0 < measured["qini_interval"][1]


def test_too_few_and_too_alike_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="at least 200 people in either arm, saw 10"):
        train_uplift([{"a": n} for n in range(300)], [n < 10 for n in range(300)], np.zeros(300))
    told = "are all alike: nothing was known of them before it, saw 500"
    with pytest.raises(InvalidDefinition, match=re.escape(told)):
        train_uplift([{"a": 1}] * 500, [n < 250 for n in range(500)], np.zeros(500))
