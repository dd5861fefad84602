"""The log that a policy is judged on: who was there, what was chosen, how likely that was, what it earned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Log:
    """``n`` rounds of one choice each; a list of three slots is three rounds with positions 0, 1, 2.

    ``action`` (n,) in ``0..n_actions - 1``; ``reward`` (n,) what came of it, 0 when nothing did;
    ``propensity`` (n,) the probability with which the logging policy chose this action there; ``position``
    (n,) from 0; ``context`` (n, d) numbers known before the choice; ``cluster`` (n,) numbers of people or
    sessions whose rounds belong together (intervals resample whole clusters), empty for independent rounds.
    """

    action: Longs
    reward: Floats
    propensity: Floats
    n_actions: int
    position: Longs
    context: Floats
    cluster: Longs = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        n = len(self.action)
        if n == 0:
            raise InvalidRequest("a log without rounds cannot be judged", seen=0, where="action")
        for name in ("reward", "propensity", "position", "context"):
            if len(getattr(self, name)) != n:
                raise InvalidRequest(
                    f"every round needs its {name}",
                    seen=len(getattr(self, name)),
                    where=name,
                    remedy=f"give {n}",
                )
        if len(self.cluster) not in (0, n):
            raise InvalidRequest(
                "every round needs its cluster, or none", seen=len(self.cluster), where="cluster"
            )
        _inside(self.action, 0, self.n_actions - 1, "action")
        _inside(self.position, 0, n, "position")
        if not np.isfinite(self.reward).all():
            at = int(np.flatnonzero(~np.isfinite(self.reward))[0])
            raise InvalidRequest(
                "rewards must be numbers", seen=float(self.reward[at]), where=f"reward[{at}]"
            )
        good = (self.propensity > 0) & (self.propensity <= 1)
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            raise InvalidRequest(
                "propensities must be over 0 and at most 1",
                seen=float(self.propensity[at]),
                where=f"propensity[{at}]",
                remedy="leave out rounds whose propensity was not logged",
            )

    def __len__(self) -> int:
        return len(self.action)

    @property
    def n_positions(self) -> int:
        return int(self.position.max()) + 1

    def take(self, rows: Longs) -> Log:
        """The log of these rounds, in this order; a round may come more than once."""
        return Log(
            action=self.action[rows],
            reward=self.reward[rows],
            propensity=self.propensity[rows],
            n_actions=self.n_actions,
            position=self.position[rows],
            context=self.context[rows],
            cluster=self.cluster[rows] if len(self.cluster) else self.cluster,
        )


def _inside(values: Longs, low: int, high: int, where: str) -> None:
    bad = (values < low) | (values > high)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InvalidRequest(f"{where} must be {low} to {high}", seen=int(values[at]), where=f"{where}[{at}]")
