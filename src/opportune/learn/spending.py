"""What an order of somebody is worth, and what they are: Gamma-Gamma and customer lifetime value."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition
from opportune.learn.buying import PRECISE, within

Floats = npt.NDArray[np.float64]


class SpendingModel(msgspec.Struct, frozen=True, kw_only=True):
    """Gamma-Gamma (Fader & Hardie, "The Gamma-Gamma model of monetary value", 2013): the value of an order is
    gamma(``p``, nu) around a person's own mean, and nu is gamma(``q``, ``v``) over people."""

    p: float
    q: float
    v: float
    kind: str = "spending"

    def expected(self, frequency: float, mean: float) -> float:
        """The value of the next order of somebody with ``frequency`` orders worth ``mean`` each (equation 5):
        their own mean, drawn towards everybody's the less they have ordered."""
        return self.p * (self.v + mean * frequency) / (self.p * frequency + self.q - 1)


def fit_spending(frequency: npt.ArrayLike, mean: npt.ArrayLike) -> SpendingModel:
    """Maximum likelihood over the people who have ordered. Raises :class:`InvalidDefinition` without any."""
    from scipy.optimize import minimize
    from scipy.special import gammaln

    x, m = np.asarray(frequency, np.float64), np.asarray(mean, np.float64)
    some = (x > 0) & (m > 0)
    x, m = x[some], m[some]
    if not len(x):
        raise InvalidDefinition("nobody spent anything", seen=0, remedy="take a longer history")
    scale = float(m.mean())
    y = m / scale

    def loss(parameters: Floats) -> float:
        p, q, v = np.exp(within(parameters))
        found = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
        found += (p * x - 1) * np.log(y) + p * x * np.log(x) - (p * x + q) * np.log(x * y + v)
        return -float(found.mean())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options=PRECISE)
    p, q, v = np.exp(within(best.x))
    return SpendingModel(p=float(p), q=float(q), v=float(v * scale))
