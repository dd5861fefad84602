"""The laws of bandits, as a test class to inherit from.

A new policy, or a bandit of your own, is held to them in three lines::

    class TestMine(BanditConformance):
        def make(self) -> Bandit:
            return Bandit(arms=("a", "b", "c"), policy=EpsilonGreedy(0.2))
"""

from __future__ import annotations

import math

import numpy as np

from opportune.clock import DAY, HOUR, MINUTE
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.bandits.policy import Bandit
from opportune.experiments.bandits.posterior import BanditFold, Learnt, Reward, Trial

T0 = 1_760_000_000_000
WORTH = (0.05, 0.1, 0.3)
"""What arms are worth, cheapest first; further arms repeat the first."""


def facts(bandit: Bandit, seed: int, trials: int = 400) -> list[Trial | Reward]:
    """Trials of every arm in turn and their rewards of 0 or 1, over three days, rewards late."""
    rng = np.random.default_rng(seed)
    found: list[Trial | Reward] = []
    for number in range(trials):
        arm = bandit.arms[number % len(bandit.arms)]
        x = tuple(float(v) for v in rng.normal(size=len(bandit.features)))
        time = T0 + int(rng.integers(0, 3 * DAY))
        found.append(Trial(arm, time, x))
        if rng.random() < _worth(bandit, arm):
            found.append(Reward(arm, time, 1.0, x))
    return found


def _worth(bandit: Bandit, arm: str) -> float:
    place = bandit.arms.index(arm)
    return WORTH[place] if place < len(WORTH) else WORTH[0]


class BanditConformance:
    """Everything that a bandit must keep, whatever its policy."""

    def make(self) -> Bandit:
        raise NotImplementedError

    def test_learning_combines_in_any_order(self) -> None:
        bandit = self.make()
        fold = BanditFold(bandit)
        all_facts = facts(bandit, 1)
        rng = np.random.default_rng(2)
        whole = self._folded(fold, all_facts)
        shuffled = self._folded(fold, [all_facts[i] for i in rng.permutation(len(all_facts))])
        parts = [self._folded(fold, all_facts[part::3]) for part in range(3)]
        left = fold.combine(fold.combine(parts[0], parts[1]), parts[2])
        right = fold.combine(parts[2], fold.combine(parts[1], parts[0]))
        now = T0 + 4 * DAY
        for other in (shuffled, left, right, fold.combine(whole, fold.zero())):
            self._same(fold, whole, other, now)

    def test_combining_changes_neither(self) -> None:
        bandit = self.make()
        fold = BanditFold(bandit)
        a, b = self._folded(fold, facts(bandit, 3)), self._folded(fold, facts(bandit, 4))
        before = fold.read(a, T0 + 4 * DAY), fold.read(b, T0 + 4 * DAY)
        fold.combine(a, b)
        assert before == (fold.read(a, T0 + 4 * DAY), fold.read(b, T0 + 4 * DAY))

    def test_probabilities_are_a_distribution_above_the_floor(self) -> None:
        bandit = self.make()
        for learnt in (BanditFold(bandit).zero(), self._folded(BanditFold(bandit), facts(bandit, 5))):
            chooser = Chooser(bandit, learnt, T0 + 4 * DAY)
            for x in self._contexts(bandit):
                shares = chooser.probabilities(x)
                assert math.isclose(shares.sum(), 1.0, abs_tol=1e-9)
                assert (shares >= bandit.floor - 1e-12).all()

    def test_what_is_not_allowed_is_never_chosen_and_the_rest_adds_up(self) -> None:
        bandit = self.make()
        chooser = Chooser(bandit, self._folded(BanditFold(bandit), facts(bandit, 6)), T0 + 4 * DAY)
        x = self._contexts(bandit)[0]
        allowed = bandit.arms[:-1]
        for draw in np.linspace(0, 1, 101, endpoint=False):
            choice = chooser.choose(float(draw), x, allowed)
            assert choice.arm in allowed
            assert choice.probabilities[-1] == 0.0
            assert math.isclose(sum(choice.probabilities), 1.0, abs_tol=1e-9)
        last = chooser.choose(0.999999, x, [bandit.arms[0]])
        assert (last.arm, last.propensity) == (bandit.arms[0], 1.0)

    def test_the_same_draw_gives_the_same_arm(self) -> None:
        bandit = self.make()
        chooser = Chooser(bandit, self._folded(BanditFold(bandit), facts(bandit, 7)), T0 + 4 * DAY)
        x = self._contexts(bandit)[0]
        assert [chooser.choose(d / 50, x) for d in range(50)] == [
            chooser.choose(d / 50, x) for d in range(50)
        ]

    def test_what_is_drawn_is_what_is_logged(self) -> None:
        """20,000 draws in each context: every arm's frequency is within 5 standard errors (seed 8)."""
        bandit = self.make()
        chooser = Chooser(bandit, self._folded(BanditFold(bandit), facts(bandit, 8)), T0 + 4 * DAY)
        rng = np.random.default_rng(8)
        for x in self._contexts(bandit)[:2]:
            shares = chooser.probabilities(x)
            edges = np.cumsum(shares)
            drawn = np.minimum(np.searchsorted(edges, rng.random(20_000), side="right"), len(shares) - 1)
            seen = np.bincount(drawn, minlength=len(shares)) / 20_000
            assert (np.abs(seen - shares) <= 5 * np.sqrt(shares * (1 - shares) / 20_000) + 1e-9).all()
            for draw in rng.random(200):
                choice = chooser.choose(float(draw), x)
                assert choice.propensity == choice.probabilities[bandit.arms.index(choice.arm)]
                at = bandit.arms.index(choice.arm)
                assert edges[at] - shares[at] - 1e-9 <= draw <= edges[at] + 1e-9

    def test_the_best_arm_gets_most(self) -> None:
        bandit = self.make()
        chooser = Chooser(bandit, self._folded(BanditFold(bandit), facts(bandit, 9, 6000)), T0 + 3 * DAY)
        total = np.sum([chooser.probabilities(x) for x in self._contexts(bandit)], axis=0)
        assert int(np.argmax(total)) == min(2, len(bandit.arms) - 1)

    def test_a_list_has_no_arm_twice(self) -> None:
        bandit = self.make()
        chooser = Chooser(bandit, self._folded(BanditFold(bandit), facts(bandit, 10)), T0 + 4 * DAY)
        ranked = chooser.ranking([0.1, 0.5, 0.9], self._contexts(bandit)[0])
        assert len({choice.arm for choice in ranked}) == min(3, len(bandit.arms))
        assert all(choice.propensity > 0 for choice in ranked)

    def _contexts(self, bandit: Bandit) -> list[tuple[float, ...]]:
        rng = np.random.default_rng(0)
        return [tuple(float(v) for v in rng.normal(size=len(bandit.features))) for _ in range(5)]

    @staticmethod
    def _folded(fold: BanditFold, some: list[Trial | Reward]) -> Learnt:
        state = fold.zero()
        for fact in some:
            state = fold.fold(state, fact)
        return state

    @staticmethod
    def _same(fold: BanditFold, a: Learnt, b: Learnt, now: int) -> None:
        for at in (now, now + HOUR, now + 7 * MINUTE):
            left, right = fold.read(a, at), fold.read(b, at)
            assert left.keys() == right.keys()
            for arm, numbers in left.items():
                for name, value in numbers.items():
                    other = right[arm][name]
                    assert (value is None and other is None) or math.isclose(
                        value, other, rel_tol=1e-9, abs_tol=1e-9
                    ), (arm, name)
        for arm, sums in a.arms.items():
            mine, theirs = fold.as_of(sums, now), fold.as_of(b.arms[arm], now)
            assert np.allclose(mine.gram, theirs.gram)
            assert np.allclose(mine.moment, theirs.moment)
