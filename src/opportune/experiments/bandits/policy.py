"""What a bandit is asked to do, apart from how it does it: the part that stands in a definition."""

from __future__ import annotations

from typing import Annotated

import msgspec

from opportune.errors import InvalidDefinition

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class Thompson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="policy", tag="thompson"):
    """Thompson sampling: each arm as often as it is the best one, as far as is known (Thompson 1933)."""


class LinUcb(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="policy", tag="linucb"):
    """The arm with the highest upper bound, ``alpha`` deviations over its mean (Li et al. 2010)."""

    alpha: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.0


class EpsilonGreedy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="policy", tag="epsilon_greedy"
):
    """The arm with the highest mean, any arm ``epsilon`` of the time."""

    epsilon: Share = 0.1


Policy = Thompson | LinUcb | EpsilonGreedy


class Bandit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bandit over the arms ``arms``.

    ``features`` name numbers of the context; with any, the bandit is contextual: every arm has a linear model
    of them, and with ``shared`` the arms have one model over their parts (``message|channel|hour``).
    ``floor`` is every arm's least share. ``half_life_days`` forgets what is old; 0 never does. ``prior`` is
    the mean and the number of trials that every arm starts with, ``scale`` the deviation of one reward where
    rewards are amounts (0: learnt). ``binary`` rewards are 0 or 1. ``delay_minutes`` is how long rewards take
    on average: a trial counts the less the younger it is (0: at once).
    """

    arms: tuple[str, ...]
    policy: Policy = Thompson()
    features: tuple[str, ...] = ()
    shared: bool = False
    floor: Share = 0.01
    half_life_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 0.0
    prior_mean: float = 0.5
    prior_trials: Positive = 2.0
    binary: bool = True
    scale: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    delay_minutes: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0

    def __post_init__(self) -> None:
        if len(self.arms) < 2 or len(set(self.arms)) < len(self.arms):
            raise InvalidDefinition(
                "a bandit needs at least two different arms", seen=list(self.arms), where="arms"
            )
        if self.floor * len(self.arms) > 1:
            raise InvalidDefinition(
                "the arms' floors together are over 1",
                seen=self.floor * len(self.arms),
                where="floor",
                remedy=f"at most {1 / len(self.arms):.4g}",
            )
        if self.binary and not 0 < self.prior_mean < 1:
            raise InvalidDefinition(
                "the prior mean of a 0 / 1 reward lies between them", seen=self.prior_mean, where="prior_mean"
            )
