"""A bandit as a policy of arms, and what it is compared with."""

from __future__ import annotations

import numpy as np

from opportune.clock import Millis
from opportune.experiments.bandits.chooser import Chooser
from opportune.experiments.bandits.policy import Bandit
from opportune.experiments.bandits.posterior import BanditFold, Reward, Trial


class Learning:
    """A :class:`Bandit` that learns in batches of ``batch`` choices; 1 learns from each."""

    def __init__(self, bandit: Bandit, batch: int = 100) -> None:
        self.bandit = bandit
        self.batch = batch
        self._fold = BanditFold(bandit)
        self._learnt = self._fold.zero()
        self._chooser: Chooser | None = None
        self._new = 0
        self._number = {arm: number for number, arm in enumerate(bandit.arms)}

    def choose(self, x: tuple[float, ...], now: Millis, draw: float) -> int:
        if self._chooser is None or self._new >= self.batch:
            self._chooser = Chooser(self.bandit, self._learnt, now)
            self._new = 0
        return self._number[self._chooser.choose(draw, x if self.bandit.features else ()).arm]

    def learn(self, arm: int, x: tuple[float, ...], time: Millis, reward: float) -> None:
        name = self.bandit.arms[arm]
        known = x if self.bandit.features else ()
        self._fold.fold(self._learnt, Trial(name, time, known))
        if reward:
            self._fold.fold(self._learnt, Reward(name, time, reward, known))
        self._new += 1


class FixedSplit:
    """An A/B/n test with equal shares, to the end."""

    def __init__(self, arms: int) -> None:
        self.arms = arms

    def choose(self, x: tuple[float, ...], now: Millis, draw: float) -> int:
        return min(int(draw * self.arms), self.arms - 1)

    def learn(self, arm: int, x: tuple[float, ...], time: Millis, reward: float) -> None:
        """It does not."""


class ShipTheWinner:
    """An A/B/n test with equal shares for the first ``test`` choices, then its winner for everybody."""

    def __init__(self, arms: int, test: int) -> None:
        self.arms, self.test = arms, test
        self._made = 0
        self._trials = np.zeros(arms)
        self._rewards = np.zeros(arms)

    def choose(self, x: tuple[float, ...], now: Millis, draw: float) -> int:
        self._made += 1
        if self._made <= self.test:
            return min(int(draw * self.arms), self.arms - 1)
        return int((self._rewards / np.maximum(self._trials, 1)).argmax())

    def learn(self, arm: int, x: tuple[float, ...], time: Millis, reward: float) -> None:
        self._trials[arm] += 1
        self._rewards[arm] += reward
