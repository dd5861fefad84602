"""Two rankers on the same decisions: how much their lists differ, and what each costs."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.clock import Millis
from opportune.learn.drift import Baseline, counts_of, stability_index

Floats = npt.NDArray[np.float32]


class SideBySide(msgspec.Struct, kw_only=True):
    """Sums over compared decisions; ``offered`` counts all decisions that were there to be compared. Lists
    are what the rankers would show at the top, before filters and rules. ``bins`` counts the shadow's scores
    in the bins of its training."""

    version: str
    against: str = ""
    since: Millis = 0
    until: Millis = 0
    offered: int = 0
    compared: int = 0
    failed: int = 0
    overlap: float = 0.0
    same_first: int = 0
    correlation: float = 0.0
    correlated: int = 0
    shadow_us: float = 0.0
    live_us: float = 0.0
    bins: list[float] = []
    last_failure: str = ""

    def add(
        self, live: Floats, shadow: Floats, shown: int, *, live_us: float, shadow_us: float, now: Millis
    ) -> None:
        """One decision: both rankers' scores of the same candidates, of which ``shown`` were asked for."""
        n = len(live)
        self.compared += 1
        self.since = self.since or now
        self.until = now
        self.live_us += live_us
        self.shadow_us += shadow_us
        k = max(min(shown, n), 1)
        # Equal scores keep the order of the pool, as they do when shown.
        mine, theirs = (np.argsort(-score, kind="stable") for score in (live, shadow))
        self.overlap += len(np.intersect1d(mine[:k], theirs[:k])) / k
        self.same_first += int(mine[0] == theirs[0])
        if n > 1:
            self.correlation += rank_correlation(mine, theirs)
            self.correlated += 1

    def spread(self, of: Baseline | None, shadow: Floats) -> None:
        """Count the shadow's scores in the bins of its training."""
        if of is not None:
            counts = counts_of(of, shadow)
            self.bins = (counts + (np.array(self.bins) if self.bins else 0.0)).tolist()

    def summary(self, of: Baseline | None) -> dict[str, float | int | str | None]:
        """Means, as pages and commands show them; ``score_drift`` is the stability index of the shadow's
        scores against those of its training."""
        n = max(self.compared, 1)
        return {
            "version": self.version,
            "against": self.against,
            "since": self.since,
            "until": self.until,
            "offered": self.offered,
            "compared": self.compared,
            "failed": self.failed,
            "overlap": round(self.overlap / n, 4),
            "same_first": round(self.same_first / n, 4),
            "rank_correlation": round(self.correlation / max(self.correlated, 1), 4),
            "score_drift": round(stability_index(of.shares, self.bins), 4)
            if of is not None and self.bins
            else None,
            "shadow_us": round(self.shadow_us / n, 1),
            "live_us": round(self.live_us / n, 1),
            "last_failure": self.last_failure,
        }


def rank_correlation(order: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Spearman's rho of two orders of the same n things, without ties: ``1 - 6 sum(d^2) / (n (n^2 - 1))``.

    >>> rank_correlation(np.array([0, 1, 2]), np.array([2, 1, 0]))
    -1.0
    """
    n = len(order)
    place = np.empty(n)
    place[other] = np.arange(n)
    apart = place[order] - np.arange(n)
    return float(1.0 - 6.0 * (apart**2).sum() / (n * (n * n - 1.0)))
