"""What would happen: the chance that a shopper responds to an arm, then and there."""

from __future__ import annotations

import numpy as np

from opportune.clock import DAY, Millis
from opportune.simulate.population import Floats, Longs, Population

YEAR = 365 * DAY


class Truth:
    """The chances behind a population. ``speaks`` (arms, tastes) is what each arm appeals to."""

    def __init__(self, population: Population) -> None:
        settings = population.settings
        rng = np.random.default_rng([population.seed, 2])
        self.population = population
        self.speaks: Floats = rng.normal(0.0, 1.0, (settings.arms, settings.tastes))
        self.speaks /= np.linalg.norm(self.speaks, axis=1, keepdims=True)
        self.general: Floats = np.linspace(0.0, settings.lift, settings.arms)
        self._base = float(np.log(settings.rate / (1 - settings.rate)))

    def swing(self, time: Millis) -> float:
        """Season and weekday in log odds: highest in late November and at weekends."""
        settings = self.population.settings
        day = time % YEAR / YEAR
        week = time // DAY % 7  # 0 is a Thursday
        return settings.season * float(np.cos(2 * np.pi * (day - 0.9))) + (
            settings.weekday if week in (2, 3) else 0.0
        )

    def chances(self, shoppers: Longs, time: Millis, views: Longs | None = None) -> Floats:
        """(n, arms) chances of a response. ``views`` (n, arms) is how often each has seen each arm: newness
        wears off. Bots never respond."""
        population, settings = self.population, self.population.settings
        odds = self._base + self.general + settings.taste * population.liking[shoppers] @ self.speaks.T
        odds += (population.eager[shoppers] + self.swing(time))[:, None]
        if settings.novelty and views is not None:
            odds = odds + settings.novelty * np.maximum(0.0, 1 - views / max(1, settings.novelty_views))
        chance = 0.5 * (1 + np.tanh(odds / 2))
        chance[population.bot[shoppers]] = 0.0
        return np.asarray(chance, dtype=np.float64)

    def looked_at(self, place: int) -> float:
        """The chance that the given place of a list, from 0, is looked at."""
        return float(self.population.settings.position**place)

    def lift(self, arm: int, control: int, time: Millis, sample: int = 100_000) -> float:
        """How much more often shoppers respond to ``arm`` than to ``control``, on average and without
        newness; over everybody, or the first ``sample``."""
        shoppers = np.arange(min(sample, len(self.population)))
        chance = self.chances(shoppers, time)
        return float((chance[:, arm] - chance[:, control]).mean())

    def best(self, shoppers: Longs, time: Millis) -> Longs:
        """(n,) the arm that each would respond to most often."""
        best: Longs = self.chances(shoppers, time).argmax(axis=1)
        return best
