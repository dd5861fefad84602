"""Logged journeys: what was known before every step, what was sent with what probability, what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Journeys:
    """``n`` journeys of ``steps`` steps each. ``state`` (n, steps, d), ``action`` (n, steps) in
    ``range(actions)``, ``propensity`` (n, steps) of the action that was taken, ``reward`` (n, steps).

    Raises :class:`InvalidRequest` for shapes that do not fit and propensities outside (0, 1].
    """

    state: Floats
    action: Longs
    propensity: Floats
    reward: Floats
    actions: int

    def __post_init__(self) -> None:
        n, steps, _ = self.state.shape
        for name in ("action", "propensity", "reward"):
            given = getattr(self, name).shape
            if given != (n, steps):
                raise InvalidRequest(
                    "journeys must be as long as each other",
                    seen=str(given),
                    where=name,
                    remedy=f"{n, steps}",
                )
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InvalidRequest(
                "propensities must be over 0 and at most 1",
                seen=float(self.propensity.min()),
                where="propensity",
            )
        if self.action.size and not (self.action.min() >= 0 and self.action.max() < self.actions):
            raise InvalidRequest(
                "no such action",
                seen=int(self.action.max()),
                where="action",
                remedy=f"0 to {self.actions - 1}",
            )

    def __len__(self) -> int:
        return len(self.state)

    def some(self, rows: Longs) -> Journeys:
        return Journeys(
            self.state[rows], self.action[rows], self.propensity[rows], self.reward[rows], self.actions
        )
