"""A policy of arms tried on the simulated shoppers without a server, and what it lost against knowing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np

from opportune.clock import HOUR, SECOND, Millis
from opportune.simulate.population import Floats
from opportune.simulate.truth import Truth


class ArmPolicy(Protocol):
    """Whatever chooses among arms; arms are numbers here."""

    def choose(self, x: tuple[float, ...], now: Millis, draw: float) -> int: ...

    def learn(self, arm: int, x: tuple[float, ...], time: Millis, reward: float) -> None:
        """Told once per choice, when the response arrived or the wait for it was over."""
        ...


class Regret(msgspec.Struct, frozen=True):
    """``total`` is the sum over decisions of the best arm's chance for that shopper less the chosen one's;
    ``curve`` is that sum at ten evenly spaced points; ``shares`` how often each arm was chosen."""

    decisions: int
    total: float
    curve: tuple[float, ...]
    shares: tuple[float, ...]


def regret(
    truth: Truth,
    policy: ArmPolicy,
    decisions: int,
    *,
    seed: int,
    start: Millis = 1_760_000_000_000,
    delay: Callable[[float], Millis] | None = None,
) -> Regret:
    """Decisions a second apart for shoppers who come at random. ``x`` are the shopper's tastes. ``delay``
    turns a uniform number into how long a response takes; by default it is told after a minute."""
    rng = np.random.default_rng([seed, 4])
    shoppers = rng.integers(0, len(truth.population), decisions)
    draws, responses, waits = rng.random(decisions), rng.random(decisions), rng.random(decisions)
    lost = np.empty(decisions)
    chosen = np.zeros(truth.population.settings.arms, dtype=np.int64)
    waiting: list[tuple[Millis, int, tuple[float, ...], Millis, float]] = []
    chances: Floats = np.empty((0, 0))
    for number in range(decisions):
        now = start + number * SECOND
        hour = number % (HOUR // SECOND)
        if hour == 0:  # the season moves slowly: chances are worked out an hour at a time
            batch = shoppers[number : number + HOUR // SECOND]
            chances = truth.chances(batch, now)
        x = tuple(truth.population.liking[shoppers[number]].tolist())
        while waiting and waiting[0][0] <= now:
            _, arm, then_x, then, reward = waiting.pop(0)
            policy.learn(arm, then_x, then, reward)
        arm = policy.choose(x, now, float(draws[number]))
        chosen[arm] += 1
        chance = chances[hour]
        lost[number] = chance.max() - chance[arm]
        told = now + (60 * SECOND if delay is None else delay(float(waits[number])))
        waiting.append((told, arm, x, now, float(responses[number] < chance[arm])))
        if delay is not None:
            waiting.sort(key=lambda each: each[0])
    sums = np.cumsum(lost)
    points = (np.arange(1, 11) * decisions // 10) - 1
    return Regret(
        decisions,
        float(sums[-1]),
        tuple(round(float(sums[p]), 2) for p in points),
        tuple((chosen / decisions).tolist()),
    )
