from __future__ import annotations

import numpy as np
import pytest

from opportune.errors import InvalidRequest
from opportune.experiments.offpolicy import intervals
from opportune.experiments.offpolicy.estimators import (
    Direct,
    DoublyRobust,
    Estimator,
    Ips,
    Rounds,
    ShrunkDr,
    Snips,
    SwitchDr,
    tuned,
    value,
)

NONE = np.empty(0, np.int64)


def rounds(reward: list[float], weight: list[float], predicted: list[float], expected: list[float]) -> Rounds:
    return Rounds(np.array(reward), np.array(weight), np.array(predicted), np.array(expected), NONE)


def seeded() -> Rounds:
    rng = np.random.default_rng(7)
    n, actions, positions = 400, 5, 2
    action, position = rng.integers(0, actions, n), rng.integers(0, positions, n)
    propensity = rng.uniform(0.05, 0.6, n)
    reward = (rng.random(n) < 0.3).astype(float)
    chance = rng.dirichlet(np.ones(actions), (n, positions)).transpose(0, 2, 1)
    worth = rng.uniform(0, 1, (n, actions, positions))
    row = np.arange(n)
    return Rounds(
        reward=reward,
        weight=chance[row, action, position] / propensity,
        predicted=worth[row, action, position],
        expected=(worth[row, :, position] * chance[row, :, position]).sum(axis=1),
        cluster=NONE,
    )


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (Ips(), 0.25749727153877133),
        (Snips(), 0.2789356076371183),
        (Direct(), 0.4988636891976415),
        (DoublyRobust(), 0.2978188617803633),
        (SwitchDr(1.5), 0.4374525461719195),
        (ShrunkDr(2.0), 0.4315575151893966),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
def test_equal_to_open_bandit_pipeline(estimator: Estimator, expected: float) -> None:
    """Expected values from obp 0.4.1 on the same arrays."""
    assert value(estimator, seeded()) == pytest.approx(expected, abs=1e-9)


def test_by_hand() -> None:
    few = rounds(reward=[1, 0, 2], weight=[2, 1, 0.5], predicted=[0.5, 0.5, 1], expected=[0.6, 0.4, 0.8])
    assert value(Ips(), few) == (2 * 1 + 1 * 0 + 0.5 * 2) / 3
    assert value(Snips(), few) == (2 * 1 + 1 * 0 + 0.5 * 2) / (2 + 1 + 0.5)
    assert value(Direct(), few) == pytest.approx((0.6 + 0.4 + 0.8) / 3)
    corrections = 2 * (1 - 0.5), 1 * (0 - 0.5), 0.5 * (2 - 1)
    assert value(DoublyRobust(), few) == pytest.approx((0.6 + 0.4 + 0.8 + sum(corrections)) / 3)
    assert value(SwitchDr(1.0), few) == pytest.approx((0.6 + 0.4 + 0.8 + sum(corrections[1:])) / 3)
    shrunk = 3 * 2 / (4 + 3), 3 * 1 / (1 + 3), 3 * 0.5 / (0.25 + 3)
    corrections = shrunk[0] * 0.5, shrunk[1] * -0.5, shrunk[2] * 1
    assert value(ShrunkDr(3.0), few) == pytest.approx((0.6 + 0.4 + 0.8 + sum(corrections)) / 3)


def test_shrinkage_runs_from_the_model_to_doubly_robust() -> None:
    found = seeded()
    assert value(ShrunkDr(0.0), found) == pytest.approx(value(Direct(), found))
    assert value(ShrunkDr(np.inf), found) == value(DoublyRobust(), found)
    assert value(SwitchDr(0.0), found) == pytest.approx(value(Direct(), found))
    assert value(SwitchDr(np.inf), found) == value(DoublyRobust(), found)


def test_no_weight_at_all_is_worth_nothing() -> None:
    assert value(Snips(), rounds([1, 1], [0, 0], [0, 0], [0, 0])) == 0.0


@pytest.mark.parametrize(("kind", "name"), [(SwitchDr, "tau"), (ShrunkDr, "lambda")])
def test_a_negative_threshold_is_refused(kind: type[SwitchDr] | type[ShrunkDr], name: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^{name} must not be negative, saw -1, at {name}$"):
        kind(-1)


def test_tuning_trusts_a_good_model_when_weights_are_wild() -> None:
    """In at least 12 of 20 logs (seeds 0 to 19): twenty heavy rounds can make a right model look wrong."""
    trusted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weight = np.where(rng.random(2000) < 0.01, 100.0, 0.0)
        truth = np.full(2000, 0.4)
        reward = (rng.random(2000) < truth).astype(float)
        trusted += tuned(ShrunkDr, Rounds(reward, weight, truth, truth, NONE)).lambda_ <= 1
    assert trusted >= 12


def test_tuning_leaves_a_wrong_model() -> None:
    rng = np.random.default_rng(3)
    reward = (rng.random(2000) < 0.4).astype(float)
    wrong = Rounds(reward, rng.uniform(0.5, 1.5, 2000), np.zeros(2000), np.zeros(2000), NONE)
    assert tuned(ShrunkDr, wrong).lambda_ >= 100
    assert tuned(SwitchDr, wrong).tau >= 1


def test_standard_error_of_a_mean_is_the_textbook_one() -> None:
    found = seeded()
    terms = found.weight * found.reward
    assert intervals.standard_error(Ips(), found) == pytest.approx(terms.std(ddof=1) / np.sqrt(400))


def test_standard_error_of_the_ratio_agrees_with_the_bootstrap() -> None:
    found = seeded()
    drawn = intervals.resampled([Snips()], found, resamples=4000, seed=1)
    assert intervals.standard_error(Snips(), found) == pytest.approx(drawn.std(), rel=0.05)
    [(low, high)] = intervals.bootstrap([Snips()], found, resamples=4000, seed=1)
    assert (low, high) == pytest.approx(intervals.analytic(Snips(), found), abs=0.01)


def test_rounds_of_one_person_count_once() -> None:
    found = seeded()
    twice = Rounds(
        *(np.repeat(column, 2) for column in (found.reward, found.weight, found.predicted, found.expected)),
        cluster=np.repeat(np.arange(400), 2),
    )
    assert value(DoublyRobust(), twice) == pytest.approx(value(DoublyRobust(), found))
    assert intervals.standard_error(DoublyRobust(), twice) == pytest.approx(
        intervals.standard_error(DoublyRobust(), found)
    )


def test_one_round_gives_no_interval() -> None:
    assert intervals.standard_error(Ips(), rounds([1], [1], [0], [0])) == np.inf


def test_intervals_cover_the_truth() -> None:
    """1,000 logs of 500 rounds; a 95 % interval that covers 95 % is within 92.5 to 97 (seed 5)."""
    rng = np.random.default_rng(5)
    worth = np.array([0.2, 0.5, 0.7])
    logging, target = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    truth = float(worth @ target)
    covered = dict.fromkeys(("ips", "snips", "dr"), 0)
    for _ in range(1000):
        action = rng.choice(3, 500, p=logging)
        reward = (rng.random(500) < worth[action]).astype(float)
        wrong = np.full(500, 0.4)
        found = Rounds(reward, (target / logging)[action], wrong, wrong, NONE)
        for estimator in (Ips(), Snips(), DoublyRobust()):
            low, high = intervals.analytic(estimator, found)
            covered[estimator.name] += low <= truth <= high
    assert all(925 <= count <= 970 for count in covered.values()), covered
