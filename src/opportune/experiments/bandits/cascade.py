"""What a list teaches: somebody reads it from the top and stops at what they click."""

from __future__ import annotations

from collections.abc import Sequence

from opportune.clock import Millis
from opportune.experiments.bandits.posterior import Reward, Trial


def cascade(
    shown: Sequence[str], clicked: Sequence[str], time: Millis, x: tuple[float, ...] = ()
) -> list[Trial | Reward]:
    """The facts of one list under the cascade model (Craswell et al. 2008; Kveton et al. 2015): everything
    down to the last click was looked at, what was clicked was liked, what stands below was not seen and
    teaches nothing. Without a click all of it was looked at."""
    liked = {arm for arm in clicked if arm in shown}
    last = max((i for i, arm in enumerate(shown) if arm in liked), default=len(shown) - 1)
    facts: list[Trial | Reward] = []
    for arm in shown[: last + 1]:
        facts.append(Trial(arm, time, x))
        if arm in liked:
            facts.append(Reward(arm, time, 1.0, x))
    return facts
