"""Journeys of messages with known truth: what a message does now, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
import numpy as np

from opportune.experiments.sequences.journeys import Floats, Journeys, Longs

MESSAGES = ("nothing", "offer", "story", "reminder")
NOTHING, OFFER, STORY, REMINDER = range(4)
Chooser = Callable[[Floats, int], Longs]
"""(state (n, d), step) -> (n,) messages."""


class MessageShop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``echo`` is how much a message changes what later ones do: a story raises interest that later reminders
    turn into orders, an offer is taken now and makes the full price less attractive, everything tires. With 0
    every message stands alone, and there is nothing to look ahead for."""

    echo: Annotated[float, msgspec.Meta(ge=0, le=3)] = 1.0
    steps: Annotated[int, msgspec.Meta(ge=1, le=20)] = 4
    noise: Annotated[float, msgspec.Meta(ge=0)] = 0.5


def journeys(shop: MessageShop, n: int, seed: int, choose: Chooser | None = None) -> Journeys:
    """``n`` shoppers' journeys, by ``choose`` or by a uniform draw. State: how keen they are (known with
    noise), what was sent last, how often they were written to, whether they ordered."""
    rng = np.random.default_rng([seed, 7])
    keen = rng.normal(0.0, 1.0, n)
    interest, spoilt, tired = np.zeros(n), np.zeros(n), np.zeros(n)
    last = np.zeros(n, dtype=np.int64)
    ordered = np.zeros(n)
    states, sent, rewards = [], [], []
    for step in range(shop.steps):
        seen = interest + shop.noise * rng.normal(0.0, 1.0, n)
        state = np.column_stack([keen, seen, np.eye(len(MESSAGES))[last][:, 1:], tired, ordered])
        message = rng.integers(0, len(MESSAGES), n) if choose is None else choose(state, step)
        odds = -3.0 + 0.5 * keen + shop.echo * (interest - spoilt - 0.3 * tired)
        odds = odds + np.array([0.0, 1.6, 0.1, 0.7])[message]
        odds += shop.echo * 0.8 * interest * (message == REMINDER)
        bought = rng.random(n) < 1 / (1 + np.exp(-odds))
        reward = bought * np.where(message == OFFER, 0.6, 1.0)
        interest = 0.8 * interest + 0.9 * (message == STORY)
        spoilt = 0.8 * spoilt + 0.7 * (message == OFFER)
        tired = tired + (message != NOTHING) * 0.5
        ordered = ordered + bought
        last = message
        states.append(state)
        sent.append(message)
        rewards.append(reward)
    return Journeys(
        np.stack(states, axis=1),
        np.stack(sent, axis=1),
        np.full((n, shop.steps), 1.0 if choose is not None else 1 / len(MESSAGES)),
        np.stack(rewards, axis=1).astype(np.float64),
        len(MESSAGES),
    )


def worth(shop: MessageShop, choose: Chooser | None, n: int = 50_000, seed: int = 99) -> float:
    """The true reward per journey of a policy (of the uniform draw without one), by sending it."""
    return float(journeys(shop, n, seed, choose).reward.sum(axis=1).mean())
