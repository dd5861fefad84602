from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from opportune.errors import InvalidRequest
from opportune.experiments.offpolicy.evaluation import evaluate
from opportune.experiments.offpolicy.log import Log
from opportune.experiments.offpolicy.overlap import of_weights, overlap
from opportune.experiments.offpolicy.reward_model import AdditiveRewards, chosen_penalty
from opportune.experiments.offpolicy.target import probabilities

WORTH = np.array([0.1, 0.2, 0.4, 0.3])
LOGGING = np.array([0.4, 0.3, 0.2, 0.1])


def log(n: int = 4000, seed: int = 1, **changes: Any) -> Log:
    rng = np.random.default_rng(seed)
    action = rng.choice(4, n, p=LOGGING)
    age = rng.normal(size=n)
    reward = (rng.random(n) < WORTH[action] + 0.05 * np.tanh(age)).astype(float)
    made = Log(action, reward, LOGGING[action], 4, np.zeros(n, np.int64), age[:, None])
    return replace(made, **changes)


def test_a_better_policy_is_found_better() -> None:
    target = np.array([0.1, 0.1, 0.6, 0.2])
    judged = evaluate(log(20_000), target)
    truth = float(WORTH @ target)
    dr = next(e for e in judged.estimates if e.name == "dr")
    assert dr.low < truth < dr.high
    assert abs(dr.value - truth) < 4 * dr.standard_error < 0.04
    assert judged.judged
    assert judged.verdict.startswith("better: +0.1")
    assert judged.lift_low < truth - float(WORTH @ LOGGING) < judged.lift_high


def test_the_logged_policy_itself_makes_no_difference() -> None:
    judged = evaluate(log(), LOGGING)
    assert judged.verdict.startswith("no difference shown: ")
    assert judged.overlap.effective == pytest.approx(4000)
    assert judged.lift == pytest.approx(0.0, abs=0.005)


def test_a_worse_policy_is_found_worse() -> None:
    assert evaluate(log(20_000), np.array([1.0, 0, 0, 0])).verdict.startswith("worse: -0.1")


def test_what_was_never_tried_cannot_be_judged() -> None:
    seen = log()
    only_two = seen.take(np.flatnonzero(seen.action < 2))
    judged = evaluate(only_two, np.array([0.2, 0.2, 0.6, 0.0]))
    assert not judged.judged
    assert judged.verdict.startswith(
        "cannot be judged from this log: 60% of what the new policy would show was never shown"
    )


def test_a_handful_of_rounds_cannot_carry_a_judgement() -> None:
    rare = replace(log(2000), propensity=np.full(2000, 1.0))
    found = evaluate(rare.take(np.arange(60)), LOGGING)
    assert not found.judged
    assert "60 logged rounds are worth only" in found.verdict
    assert "(at least 100 are needed)" in found.verdict


def test_propensities_that_do_not_add_up_are_named() -> None:
    halved = replace(log(), propensity=LOGGING[log().action] / 2)
    verdict = evaluate(halved, LOGGING).verdict
    assert "the logged propensities do not add up: weights average 2.00 instead of 1" in verdict


def test_rewards_that_hardly_bear_on_the_policy_are_counted() -> None:
    reward = np.zeros(4000)
    reward[:3] = 1
    assert (
        "only 3 rewarded rounds bear on it (at least 10 are needed)"
        in evaluate(log(reward=reward), LOGGING).verdict
    )


def test_effective_sample_size_is_kish() -> None:
    found = of_weights(np.array([1.0, 3.0]), np.array([0.0, 1.0]), 0.0)
    assert found.effective == (1 + 3) ** 2 / (1 + 9)
    assert (found.mean_weight, found.max_weight, found.rewarded) == (2.0, 3.0, 1)


def test_support_is_counted_per_position() -> None:
    two = Log(
        action=np.array([0, 1]),
        reward=np.zeros(2),
        propensity=np.full(2, 0.5),
        n_actions=2,
        position=np.array([0, 1]),
        context=np.zeros((2, 0)),
    )
    target = probabilities(np.array([[0.25, 0.75], [0.25, 0.75]]), two)
    assert overlap(two, target).unsupported == (0.75 + 0.25) / 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"propensity": np.zeros(4000)},
            r"propensities must be over 0 and at most 1, saw 0.0, at propensity\[0\]",
        ),
        ({"reward": np.full(4000, np.nan)}, r"rewards must be numbers, saw nan, at reward\[0\]"),
        ({"action": np.full(4000, 9)}, r"action must be 0 to 3, saw 9, at action\[0\]"),
        (
            {"position": np.zeros(3, np.int64)},
            "every round needs its position, saw 3, at position: give 4000",
        ),
        ({"cluster": np.zeros(3, np.int64)}, "every round needs its cluster, or none, saw 3, at cluster"),
        ({"action": np.empty(0, np.int64)}, "a log without rounds cannot be judged, saw 0, at action"),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        log(**changes)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([0.5, 0.5], "needs a probability per action, saw 2: give 4"),
        ([0.5, 0.5, 0.5, 0.5], r"must sum to 1, saw 2.0, at row 0"),
        ([1.5, -0.5, 0.0, 0.0], "must sum to 1"),
    ],
)
def test_a_target_that_is_no_policy_is_refused(target: list[float], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        evaluate(log(), np.array(target))


def test_a_target_needs_a_row_per_position() -> None:
    made = log(position=np.arange(4000) % 2)
    with pytest.raises(InvalidRequest, match="needs a row per position, saw 1: give 2"):
        evaluate(made, LOGGING)


def test_the_logistic_model_is_at_the_optimum() -> None:
    """Against scipy's general minimizer on the same penalized likelihood."""
    few = log(300)
    model = AdditiveRewards(penalty=2.0)
    model.fit(few)
    z = (few.context[:, 0] - few.context.mean()) / few.context.std()
    design = np.column_stack([np.ones(300), z, few.action[:, None] == np.arange(4)])
    prior = np.array([1e-6, 2.0, 2.0, 2.0, 2.0, 2.0])

    def loss(beta: np.ndarray) -> float:
        score = design @ beta
        return float(np.logaddexp(0, score).sum() - few.reward @ score + 0.5 * (prior * beta**2).sum())

    best = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    guess = model.predict(few.context, few.position)[np.arange(300), few.action]
    assert guess == pytest.approx(1 / (1 + np.exp(-design @ best)), abs=1e-5)


def test_the_linear_model_recovers_a_line() -> None:
    few = log(500)
    worth = np.array([1.0, 2.0, 3.0, 4.0])
    few = replace(few, reward=worth[few.action] + 0.5 * few.context[:, 0])
    model = AdditiveRewards(penalty=1e-6)
    model.fit(few)
    assert model.predict(np.zeros((1, 1)), np.zeros(1, np.int64))[0] == pytest.approx(worth, abs=1e-4)


def test_a_strong_penalty_is_chosen_when_actions_do_not_differ() -> None:
    noise = (np.random.default_rng(2).random(4000) < 0.01).astype(float)
    assert chosen_penalty(log(reward=noise)) >= 100
    assert chosen_penalty(log(reward=(log().action == 2).astype(float))) <= 10
