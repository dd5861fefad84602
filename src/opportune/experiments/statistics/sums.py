"""The sufficient statistics of an arm: means and co-moments that combine, so that any split adds up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Sums(msgspec.Struct, frozen=True, array_like=True):
    """``n`` units with outcome ``y`` and companion ``x`` (a ratio's denominator, a covariate): means and the
    sums of squared and crossed deviations from them. ``combine`` is Chan, Golub & LeVeque (1983)."""

    n: int = 0
    y: float = 0.0
    x: float = 0.0
    yy: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, y: npt.ArrayLike, x: npt.ArrayLike | None = None) -> Sums:
        """From one value (or two) per unit. O(n)."""
        ys = np.asarray(y, dtype=np.float64)
        xs = np.zeros_like(ys) if x is None else np.asarray(x, dtype=np.float64)
        if not len(ys):
            return cls()
        my, mx = float(ys.mean()), float(xs.mean())
        dy, dx = ys - my, xs - mx
        return cls(len(ys), my, mx, float(dy @ dy), float(dx @ dx), float(dy @ dx))

    @classmethod
    def of_proportion(cls, n: int, successes: float) -> Sums:
        """From how many of ``n`` did something."""
        p = successes / n if n else 0.0
        return cls(n, p, 0.0, n * p * (1 - p))

    def combine(self, other: Sums) -> Sums:
        if not self.n or not other.n:
            return other if other.n else self
        n = self.n + other.n
        dy, dx = other.y - self.y, other.x - self.x
        weight = self.n * other.n / n
        return Sums(
            n,
            self.y + dy * other.n / n,
            self.x + dx * other.n / n,
            self.yy + other.yy + dy * dy * weight,
            self.xx + other.xx + dx * dx * weight,
            self.xy + other.xy + dy * dx * weight,
        )

    @property
    def variance(self) -> float:
        """Of ``y``, with n - 1; 0 for fewer than two units."""
        return self.yy / (self.n - 1) if self.n > 1 else 0.0

    @property
    def variance_x(self) -> float:
        return self.xx / (self.n - 1) if self.n > 1 else 0.0

    @property
    def covariance(self) -> float:
        return self.xy / (self.n - 1) if self.n > 1 else 0.0


def total(parts: Iterable[Sums]) -> Sums:
    found = Sums()
    for part in parts:
        found = found.combine(part)
    return found


def winsorized(values: npt.ArrayLike, low: float = 0.0, high: float = 0.99) -> Array:
    """Values below the ``low`` and above the ``high`` quantile replaced by these (linear interpolation, of
    all values: the same caps for every arm, else the caps themselves would differ by arm)."""
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        return found
    caps: Any = np.quantile(found, [low, high])
    return np.clip(found, caps[0], caps[1])


def finite(value: float) -> float | None:
    """A number fit for JSON."""
    return value if math.isfinite(value) else None
