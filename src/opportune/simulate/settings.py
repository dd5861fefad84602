"""What a simulated shop is like."""

from __future__ import annotations

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``taste`` is how strongly arms speak to some and not to others (in log odds), ``lift`` how much better
    than the first arm the others are for everybody (the last arm has all of it). ``season`` and ``weekday``
    swing everybody's rate; ``novelty`` adds to an arm that a shopper has seen fewer than ``novelty_views``
    times. ``position`` is how many times less each further place is looked at. Purchases follow after
    ``delay_hours`` on average. ``shared`` of the shoppers share a device with another one, ``several`` have a
    second device of their own, ``bots`` are none, ``refuse`` refuse consent, ``login`` sign in when they
    visit."""

    shoppers: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 10_000
    arms: Annotated[int, msgspec.Meta(ge=2, le=32)] = 5
    tastes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 6
    rate: Rate = 0.08
    taste: float = 1.2
    lift: float = 0.0
    season: float = 0.25
    weekday: float = 0.15
    novelty: float = 0.0
    novelty_views: Annotated[int, msgspec.Meta(ge=0)] = 3
    position: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.7
    delay_hours: Annotated[float, msgspec.Meta(ge=0)] = 6.0
    shared: Share = 0.05
    several: Share = 0.3
    bots: Share = 0.02
    refuse: Share = 0.1
    login: Share = 0.4
