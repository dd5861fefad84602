"""Counting people who refuse, so that nobody can be told from the counts: differential privacy.

What a person who allows nothing does is not kept. It is counted: per day and event name, a person at most
once per name and at most ``per_person`` names a day. Who was counted today is known by a hash with a key that
lives in memory for that day only. When the day is over, its counts are published once, with noise from the
discrete Laplace distribution of scale ``per_person / epsilon`` (Dwork, McSherry, Nissim & Smith, 2006;
Canonne, Kamath & Steinke, 2020; by OpenDP), and the exact counts are thrown away.

For one person and one day, whatever they did, the published counts are epsilon-differentially private; over
several days the epsilons add up, and ``budget`` is what they may add up to within ``budget_days``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated

import msgspec

from opportune.clock import DAY, Millis
from opportune.errors import InvalidDefinition
from opportune.events.event import Event

MOST_COUNTED = 2_000_000
"""People remembered in a day; who comes after them is not counted."""
OVER_BUDGET = "not published: the budget of these days is spent"

Noise = Callable[[Sequence[int], float], Sequence[int]]
"""Counts and a scale -> the counts with discrete Laplace noise of that scale (``laplace.py``)."""


class AnonymousRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``events`` are the names that are counted; without any, nothing is. ``epsilon`` is what a day's
    publication costs a person at most, ``budget`` what the days within ``budget_days`` may cost together.
    ``per_person`` is how many of the names one person counts for in a day."""

    events: tuple[str, ...] = ()
    epsilon: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.5
    budget: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 15.0
    budget_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    per_person: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3

    def __post_init__(self) -> None:
        if len(set(self.events)) < len(self.events):
            raise InvalidDefinition(
                "an event is named twice", seen=list(self.events), where="$.anonymous.events",
                remedy="name each once",
            )  # fmt: skip

    @property
    def scale(self) -> float:
        return self.per_person / self.epsilon


class Release(msgspec.Struct, frozen=True):
    """One day as published: ``counts`` with noise (they may be below zero), and half the width of their 95 %
    intervals. ``problem`` says why there are none."""

    day: Millis
    epsilon: float
    counts: dict[str, int] = {}
    half_width: float = 0.0
    problem: str = ""


class Kept(msgspec.Struct):
    """What outlives a restart: exact counts of days that are not published, and everything published."""

    waiting: dict[Millis, dict[str, int]] = {}
    releases: list[Release] = []


class AnonymousCounts:
    """One counter, on one thread. ``changed`` says that :attr:`kept` is to be saved."""

    def __init__(self, rules: AnonymousRules, kept: Kept) -> None:
        self.rules = rules
        self.kept = kept
        self.changed = False
        self._names = frozenset(rules.events)
        self._day: Millis = -1
        self._key = b""
        self._seen: dict[bytes, set[str]] = {}

    def count(self, event: Event) -> None:
        """Count an event that may not be kept. 2 us."""
        if event.name not in self._names or not event.identifiers:
            return
        day = event.received // DAY * DAY
        if day > self._day:
            self._day, self._key, self._seen = day, secrets.token_bytes(16), {}
        elif day < self._day:
            return
        text = event.identifiers[0].encode("utf-8", "surrogatepass")
        who = blake2b(text, key=self._key, digest_size=8).digest()
        names = self._seen.get(who)
        if names is None:
            if len(self._seen) >= MOST_COUNTED:
                return
            names = self._seen[who] = set()
        if event.name in names or len(names) >= self.rules.per_person:
            return
        names.add(event.name)
        counts = self.kept.waiting.setdefault(day, {})
        counts[event.name] = counts.get(event.name, 0) + 1
        self.changed = True

    def finished(self, now: Millis) -> list[Millis]:
        """Days that are over and not published."""
        return sorted(day for day in self.kept.waiting if day + DAY <= now)

    def spent(self, now: Millis) -> float:
        """What the days within the budget's time have cost so far."""
        since = now - self.rules.budget_days * DAY
        return math.fsum(one.epsilon for one in self.kept.releases if one.day > since)

    def release(self, now: Millis, noise: Noise) -> list[Release]:
        """Publish every finished day once; its exact counts are gone then. The caller saves before it tells
        anybody. A day that the budget does not pay for is thrown away unpublished, and says so."""
        made = []
        for day in self.finished(now):
            counts = self.kept.waiting.pop(day)
            rules = self.rules
            if self.spent(day + DAY) + rules.epsilon > rules.budget + 1e-9:
                one = Release(day, 0.0, problem=OVER_BUDGET)
            else:
                noisy = noise([counts.get(name, 0) for name in rules.events], rules.scale)
                told = dict(zip(rules.events, noisy, strict=True))
                one = Release(day, rules.epsilon, told, half_width(rules.scale))
            self.kept.releases.append(one)
            made.append(one)
            self.changed = True
        return made

    def report(self, now: Millis) -> Mapping[str, object]:
        """Plain JSON: the guarantee, the budget, the days published, newest first."""
        rules, spent = self.rules, self.spent(now)
        return {
            "epsilon": rules.epsilon,
            "per_person": rules.per_person,
            "budget": rules.budget,
            "budget_days": rules.budget_days,
            "spent": round(spent, 9),
            "left": round(max(0.0, rules.budget - spent), 9),
            "events": list(rules.events),
            "days": [msgspec.to_builtins(one) for one in reversed(self.kept.releases)],
            "waiting": len(self.finished(now)),
        }


def half_width(scale: float) -> float:
    """Half the width of a 95 % interval around a count with this noise.

    >>> round(half_width(6.0), 2)
    17.97
    """
    return scale * math.log(1 / 0.05)
