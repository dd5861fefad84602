"""The bandit beside the rule that it would replace: apprentice first, live when it has learnt enough, back to
the rule when it turns out worse."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from opportune.experiments.bandits.policy import Share

Mode = Literal["apprentice", "live", "baseline"]


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``agreement`` is how much of its probability an apprentice must give to what the baseline does, on
    average over the ``trials`` that it watches; ``alpha`` the chance of ever falling back although the bandit
    is no worse, however often one looks."""

    agreement: Share = 0.6
    trials: Annotated[int, msgspec.Meta(ge=1)] = 1000
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    apprentice: bool = True


class Standing(msgspec.Struct, array_like=True):
    """Sums that combine. ``agreed`` sums the bandit's probability of the baseline's arm over ``watched``
    trials; ``gain`` and ``squares`` sum, over ``served`` live trials, what was earned less what the baseline
    would have: ``r - r · [arm is the baseline's] / propensity``."""

    watched: int = 0
    agreed: float = 0.0
    served: int = 0
    gain: float = 0.0
    squares: float = 0.0

    def watch(self, probability: float) -> None:
        """The baseline was served; the bandit would have done the same with this probability."""
        self.watched += 1
        self.agreed += probability

    def serve(self) -> None:
        """The bandit was served."""
        self.served += 1

    def earn(self, reward: float, propensity: float, *, was_baseline: bool) -> None:
        """A reward of a live trial; ``propensity`` is that of the arm shown."""
        difference = reward - (reward / propensity if was_baseline else 0.0)
        self.gain += difference
        self.squares += difference**2

    def combine(self, other: Standing) -> Standing:
        return Standing(
            self.watched + other.watched,
            self.agreed + other.agreed,
            self.served + other.served,
            self.gain + other.gain,
            self.squares + other.squares,
        )

    def mode(self, guard: Guard) -> Mode:
        """What is served now."""
        if guard.apprentice and not self.served and not self._matches(guard):
            return "apprentice"
        return "baseline" if self.upper(guard.alpha) < 0 else "live"

    def upper(self, alpha: float) -> float:
        """The upper end of an asymptotic confidence sequence for the gain per trial (Waudby-Smith et al.
        2021, equation 4, tightest around 1,000 trials): valid at every look. Infinite under 100 trials."""
        n = self.served
        if n < 100:
            return math.inf
        mean = self.gain / n
        variance = max(self.squares / n - mean**2, 1e-12)
        rho = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / 1000
        width = math.sqrt(2 * (n * rho + 1) / (n**2 * rho) * math.log(math.sqrt(n * rho + 1) / alpha))
        return mean + math.sqrt(variance) * width

    def _matches(self, guard: Guard) -> bool:
        return self.watched >= guard.trials and self.agreed / self.watched >= guard.agreement
