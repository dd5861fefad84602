"""Every policy, with and without context, is held to the published laws."""

from __future__ import annotations

from opportune.experiments.bandits.policy import Bandit, EpsilonGreedy, LinUcb
from opportune.testing.bandits import BanditConformance

ARMS = ("a", "b", "c")


class TestThompson(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS)


class TestThompsonThatForgets(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, half_life_days=2, delay_minutes=90)


class TestThompsonOverAmounts(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, binary=False, prior_mean=0.0)


class TestThompsonWithContext(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, features=("age", "spend"), half_life_days=5)


class TestLinUcb(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, policy=LinUcb(0.5), features=("age",), floor=0.05)


class TestUcbWithoutContext(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, policy=LinUcb(1.0))


class TestEpsilonGreedy(BanditConformance):
    def make(self) -> Bandit:
        return Bandit(ARMS, policy=EpsilonGreedy(0.2), floor=0.0)


class TestSharedParts(BanditConformance):
    """message x channel; the sample's worths are by arm, not by part, which the parts can express here."""

    def make(self) -> Bandit:
        return Bandit(("sale|mail", "new|mail", "new|push"), features=("age",), shared=True)
