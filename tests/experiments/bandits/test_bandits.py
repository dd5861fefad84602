from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from opportune.clock import DAY, HOUR, MINUTE
from opportune.config import definitions
from opportune.errors import InvalidDefinition, InvalidRequest
from opportune.experiments.bandits.best import best_of_betas, best_of_normals
from opportune.experiments.bandits.cascade import cascade
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.bandits.guard import Guard, Standing
from opportune.experiments.bandits.policy import Bandit, EpsilonGreedy, LinUcb
from opportune.experiments.bandits.posterior import BanditFold, Learnt, Reward, Trial

T0 = 1_760_000_000_000


def learnt(bandit: Bandit, counts: dict[str, tuple[int, int]], time: int = T0) -> Learnt:
    """Trials and rewards of every arm, all at one time."""
    fold = BanditFold(bandit)
    state = fold.zero()
    for arm, (trials, rewards) in counts.items():
        for _ in range(trials):
            state = fold.fold(state, Trial(arm, time))
        for _ in range(rewards):
            state = fold.fold(state, Reward(arm, time, 1.0))
    return state


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, 1], [1, 1]),
        ([20, 30], [80, 75]),
        ([1, 400], [1, 600]),
        ([3, 5, 4], [900, 1200, 800]),
        ([1, 2], [9999, 1]),
    ],
)
def test_the_share_of_each_arm_is_the_integral(a: list[float], b: list[float]) -> None:
    """Against scipy's adaptive quadrature."""

    def exact(i: int) -> float:
        def inside(x: float) -> float:
            others = math.prod(stats.beta.cdf(x, a[j], b[j]) for j in range(len(a)) if j != i)
            return float(stats.beta.pdf(x, a[i], b[i]) * others)

        middle = a[i] / (a[i] + b[i])
        return float(integrate.quad(inside, 0, 1, points=[middle], limit=500)[0])

    expected = [exact(i) for i in range(len(a))]
    assert best_of_betas(np.array(a, float), np.array(b, float)) == pytest.approx(expected, abs=1e-3)


def test_two_normals_have_a_closed_form() -> None:
    mean, deviation = np.array([1.0, 1.5]), np.array([0.6, 0.8])
    first = stats.norm.cdf((1.0 - 1.5) / math.hypot(0.6, 0.8))
    assert best_of_normals(mean, deviation) == pytest.approx([first, 1 - first], abs=1e-6)


def test_propensities_over_a_million_draws() -> None:
    """Chi-square of the observed against the logged, as the traffic moves: 100 states of what is known,
    10,000 choices each (seed 1)."""
    rng = np.random.default_rng(1)
    bandit = Bandit(("a", "b", "c", "d"), floor=0.02)
    seen, logged = np.zeros(4), np.zeros(4)
    for state in range(100):
        counts = {
            arm: (10 * state, int(rng.binomial(10 * state, 0.1 + 0.01 * i))) for i, arm in enumerate("abcd")
        }
        chooser = Chooser(bandit, learnt(bandit, counts), T0)
        allowed = None if state % 3 else ("a", "c", "d")
        shares = chooser.probabilities((), allowed)
        draws = rng.random(10_000)
        chosen = np.minimum(np.searchsorted(np.cumsum(shares), draws, side="right"), 3)
        for draw in draws[:20]:
            choice = chooser.choose(float(draw), (), allowed)
            assert choice.propensity == shares[bandit.arms.index(choice.arm)]
        seen += np.bincount(chosen, minlength=4)
        logged += 10_000 * shares
    assert seen.sum() == 1_000_000
    assert stats.chisquare(seen, logged).pvalue > 0.01


def test_thompson_by_integral_is_thompson_by_drawing() -> None:
    bandit = Bandit(("a", "b", "c"), floor=0.0)
    state = learnt(bandit, {"a": (100, 10), "b": (80, 10), "c": (20, 3)})
    rng = np.random.default_rng(3)
    drawn = np.argmax(
        [rng.beta(11, 91, 200_000), rng.beta(11, 71, 200_000), rng.beta(4, 18, 200_000)], axis=0
    )
    expected = np.bincount(drawn) / 200_000
    assert Chooser(bandit, state, T0).probabilities() == pytest.approx(expected, abs=0.005)


def test_epsilon_greedy_by_hand() -> None:
    bandit = Bandit(("a", "b"), policy=EpsilonGreedy(0.2), floor=0.0)
    chooser = Chooser(bandit, learnt(bandit, {"a": (10, 1), "b": (10, 5)}), T0)
    assert chooser.probabilities() == pytest.approx([0.1, 0.9])
    assert chooser.choose(0.05).arm == "a"
    assert chooser.choose(0.5).propensity == pytest.approx(0.9)


def test_ucb_prefers_what_is_less_known() -> None:
    bandit = Bandit(("a", "b"), policy=LinUcb(3.0), floor=0.05)
    chooser = Chooser(bandit, learnt(bandit, {"a": (1000, 300), "b": (10, 3)}), T0)
    assert chooser.probabilities() == pytest.approx([0.05, 0.95])


def test_a_prior_is_what_is_believed_first() -> None:
    bandit = Bandit(("a", "b"), prior_mean=0.1, prior_trials=20)
    found = Chooser(bandit, BanditFold(bandit).zero(), T0).beliefs(())
    assert found.a is not None
    assert found.a.tolist() == [2.0, 2.0]
    assert found.mean.tolist() == [0.1, 0.1]


def test_what_is_old_counts_less() -> None:
    bandit = Bandit(("a", "b"), half_life_days=1)
    state = learnt(bandit, {"a": (100, 50)})
    assert BanditFold(bandit).read(state, T0 + 2 * DAY)["a"]["trials"] == pytest.approx(100 / 4)
    assert BanditFold(bandit).read(state, T0 + 2 * DAY)["a"]["mean"] == pytest.approx(0.5)


def test_traffic_follows_when_the_world_changes() -> None:
    forgets, keeps = Bandit(("a", "b"), half_life_days=1), Bandit(("a", "b"))
    for bandit, expected in ((forgets, "b"), (keeps, "a")):
        fold = BanditFold(bandit)
        before = learnt(bandit, {"a": (1000, 300), "b": (1000, 100)}, T0)
        after = learnt(bandit, {"a": (100, 10), "b": (100, 30)}, T0 + 10 * DAY)
        shares = Chooser(bandit, fold.combine(before, after), T0 + 10 * DAY).probabilities()
        assert bandit.arms[int(shares.argmax())] == expected


def test_a_reward_that_is_still_to_come_is_waited_for() -> None:
    """Arm b was only just shown; rewards take an hour. Counted at once it would
    look worthless; as awaited it does not."""
    for delay, expected in ((0.0, 0.02), (60.0, 0.5)):
        bandit = Bandit(("a", "b"), delay_minutes=delay, floor=0.0)
        state = BanditFold(bandit).combine(
            learnt(bandit, {"a": (200, 20)}, T0), learnt(bandit, {"b": (200, 0)}, T0 + 12 * HOUR)
        )
        share = Chooser(bandit, state, T0 + 12 * HOUR + MINUTE).probabilities()[1]
        assert (share > expected) == (delay > 0)


def test_a_reward_that_never_comes_is_a_zero() -> None:
    bandit = Bandit(("a", "b"), delay_minutes=60)
    state = learnt(bandit, {"a": (100, 0)})
    mean = Chooser(bandit, state, T0 + 30 * DAY).beliefs(()).mean
    assert mean[0] == pytest.approx(1 / 102)


def test_a_contextual_bandit_learns_who_likes_what() -> None:
    bandit = Bandit(("tea", "cake"), features=("sweet",), floor=0.01)
    fold, rng = BanditFold(bandit), np.random.default_rng(5)
    state = fold.zero()
    for number in range(2000):
        arm, sweet = bandit.arms[number % 2], float(rng.choice([-1.0, 1.0]))
        state = fold.fold(state, Trial(arm, T0, (sweet,)))
        if rng.random() < (0.3 if (arm == "cake") == (sweet > 0) else 0.1):
            state = fold.fold(state, Reward(arm, T0, 1.0, (sweet,)))
    chooser = Chooser(bandit, state, T0)
    assert chooser.probabilities((1.0,))[1] > 0.95
    assert chooser.probabilities((-1.0,))[0] > 0.95


def test_a_linear_model_is_ridge_regression() -> None:
    bandit = Bandit(
        ("a", "b"), features=("u", "v"), prior_mean=0.5, prior_trials=3.0, scale=1.0, binary=False
    )
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    fold = BanditFold(bandit)
    state = fold.zero()
    for row, value in zip(x, y, strict=True):
        state = fold.fold(state, Trial("a", T0, tuple(row)))
        state = fold.fold(state, Reward("a", T0, float(value), tuple(row)))
    design = np.column_stack([np.ones(40), x])
    precision = design.T @ design + 3.0 * np.eye(3)
    slope = np.linalg.solve(precision, design.T @ y + np.array([1.5, 0, 0]))
    at = np.array([1.0, 0.3, -0.7])
    found = Chooser(bandit, state, T0).beliefs((0.3, -0.7))
    assert found.mean[0] == pytest.approx(at @ slope)
    assert found.deviation[0] == pytest.approx(math.sqrt(at @ np.linalg.inv(precision) @ at))


def test_parts_of_arms_teach_each_other() -> None:
    """The mail was never tried with the new message; both parts did well elsewhere."""
    arms = ("sale|push", "new|push", "sale|mail", "new|mail")
    bandit = Bandit(arms, shared=True)
    fold, rng = BanditFold(bandit), np.random.default_rng(1)
    state = fold.zero()
    for number in range(3000):
        arm = arms[number % 3]
        state = fold.fold(state, Trial(arm, T0))
        if rng.random() < 0.05 + 0.1 * ("new" in arm) + 0.1 * ("mail" in arm):
            state = fold.fold(state, Reward(arm, T0, 1.0))
    assert Chooser(bandit, state, T0).beliefs(()).mean[3] == pytest.approx(0.25, abs=0.06)
    assert int(Chooser(bandit, state, T0).probabilities().argmax()) == 3


def test_a_list_is_read_from_the_top() -> None:
    assert cascade(["a", "b", "c"], ["b"], T0) == [Trial("a", T0), Trial("b", T0), Reward("b", T0, 1.0)]
    assert cascade(["a", "b"], [], T0) == [Trial("a", T0), Trial("b", T0)]
    assert cascade(["a", "b"], ["z"], T0) == [Trial("a", T0), Trial("b", T0)]


def test_a_list_is_drawn_one_by_one() -> None:
    bandit = Bandit(("a", "b", "c"), policy=EpsilonGreedy(0.3), floor=0.0)
    chooser = Chooser(bandit, learnt(bandit, {"a": (10, 5), "b": (10, 3), "c": (10, 1)}), T0)
    first, second = chooser.ranking([0.5, 0.5])
    assert (first.arm, first.propensity) == ("a", pytest.approx(0.7 + 0.3 / 3))
    assert (second.arm, second.propensity) == ("b", pytest.approx(0.7 + 0.3 / 2))


def test_an_apprentice_serves_the_baseline_until_it_agrees() -> None:
    guard, standing = Guard(agreement=0.6, trials=100), Standing()
    for _ in range(99):
        standing.watch(0.9)
    assert standing.mode(guard) == "apprentice"
    standing.watch(0.9)
    assert standing.mode(guard) == "live"
    assert Standing(watched=100, agreed=50.0).mode(guard) == "apprentice"
    assert Standing().mode(Guard(apprentice=False)) == "live"


def served(worth_bandit: float, worth_baseline: float, n: int, seed: int) -> Standing:
    """A bandit that shows the baseline's arm a tenth of the time."""
    rng = np.random.default_rng(seed)
    standing = Standing()
    for _ in range(n):
        standing.serve()
        baseline = rng.random() < 0.1
        if rng.random() < (worth_baseline if baseline else worth_bandit):
            standing.earn(1.0, 0.1 if baseline else 0.9, was_baseline=bool(baseline))
    return standing


def test_a_worse_bandit_falls_back() -> None:
    assert served(0.05, 0.2, 20_000, seed=1).mode(Guard()) == "baseline"
    assert served(0.2, 0.05, 20_000, seed=1).mode(Guard()) == "live"


def test_an_equal_bandit_seldom_falls_back_however_often_one_looks() -> None:
    """200 bandits as good as their baseline, looked at every 50 trials of 5,000: at 5 % at most 10 + 2
    standard errors of them ever fall back (seeds 0 to 199)."""
    fallen = 0
    for seed in range(200):
        standing = Standing()
        for part in range(100):
            standing = standing.combine(served(0.1, 0.1, 50, seed=1000 * seed + part))
            if standing.mode(Guard()) == "baseline":
                fallen += 1
                break
    assert fallen <= 10 + 2 * math.sqrt(200 * 0.05 * 0.95)


def test_the_definition_reads_from_yaml() -> None:
    found = definitions.parse(
        "arms: [a, b]\npolicy: {policy: linucb, alpha: 0.5}\nfeatures: [age]\n", Bandit, name="bandit.yaml"
    )
    assert found == Bandit(("a", "b"), policy=LinUcb(0.5), features=("age",))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"arms": ("a",)}, r"a bandit needs at least two different arms, saw .*, at arms"),
        ({"arms": ("a", "a")}, r"a bandit needs at least two different arms"),
        (
            {"arms": ("a", "b"), "floor": 0.6},
            r"the arms' floors together are over 1, saw 1.2, at floor: at most 0.5",
        ),
        (
            {"arms": ("a", "b"), "prior_mean": 1.5},
            r"the prior mean of a 0 / 1 reward lies between them, saw 1.5",
        ),
    ],
)
def test_a_bandit_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDefinition, match=text):
        Bandit(**given)


def test_missing_features_are_named() -> None:
    bandit = Bandit(("a", "b"), features=("age", "spend"))
    with pytest.raises(
        InvalidRequest, match="a contextual bandit needs its features, saw 1, at x: give age, spend"
    ):
        Chooser(bandit, BanditFold(bandit).zero(), T0).choose(0.5, (1.0,))


def test_no_arm_that_may_be_shown_is_an_error() -> None:
    bandit = Bandit(("a", "b"))
    with pytest.raises(InvalidRequest, match=r"none of the bandit's arms may be shown, .*allow one of a, b"):
        Chooser(bandit, BanditFold(bandit).zero(), T0).choose(0.5, (), ["gone"])
