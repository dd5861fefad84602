"""How many orders are to come, and whether somebody is still a customer: BG/NBD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition

Floats = npt.NDArray[np.float64]
DAY_S = 86_400.0
_TERMS = 2_000
_FURTHEST = 15.0
PRECISE = {"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-10}


class BuyingModel(msgspec.Struct, frozen=True, kw_only=True):
    """BG/NBD (Fader, Hardie & Lee, "Counting your customers the easy way", Marketing Science 2005): orders
    come at a rate that is gamma(``r``, ``alpha``) over people, and after each one somebody leaves with a
    probability that is beta(``a``, ``b``). Times in ``unit_s`` seconds, a week by default.

    ``orders``, ``since_last`` and ``since_first`` name the features that serving reads: how many orders, and
    the seconds since the last and the first.
    """

    r: float
    alpha: float
    a: float
    b: float
    unit_s: float = 7 * DAY_S
    orders: str = "orders_all"
    since_last: str = "order_recency"
    since_first: str = "order_age"
    kind: str = "buying"

    def alive(self, frequency: float, recency: float, age: float) -> float:
        """The probability of still being a customer; ``frequency`` counts repeat orders, ``recency`` is the
        time of the last and ``age`` that of now, both since the first (equation 10, rearranged)."""
        if frequency <= 0:
            return 1.0
        odds = self.a / (self.b + frequency - 1)
        power = self.r + frequency
        odds *= math.exp(power * (math.log(self.alpha + age) - math.log(self.alpha + recency)))
        return 1.0 / (1.0 + odds)

    def expected(self, frequency: float, recency: float, age: float, ahead: float) -> float:
        """Expected orders within ``ahead`` from now (equation 10)."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        z = ahead / (alpha + age + ahead)
        series = hypergeometric(r + frequency, b + frequency, a + b + frequency - 1, z)
        many = (a + b + frequency - 1) / (a - 1)
        gone = math.exp((r + frequency) * (math.log(alpha + age) - math.log(alpha + age + ahead)))
        return many * (1 - gone * series) * self.alive(frequency, recency, age)

    def of(self, features: Mapping[str, Any], *, ahead_s: float) -> tuple[float, float] | None:
        """(expected orders within ``ahead_s`` seconds, probability of being a customer still) of somebody
        with these features; None for who has never ordered."""
        orders, last, first = (features.get(n) for n in (self.orders, self.since_last, self.since_first))
        if not orders or last is None or first is None:
            return None
        age = float(first) / self.unit_s
        recency = max(age - float(last) / self.unit_s, 0.0)
        frequency = float(orders) - 1
        ahead = ahead_s / self.unit_s
        return self.expected(frequency, recency, age, ahead), self.alive(frequency, recency, age)


def within(parameters: Floats) -> Floats:
    """Logarithms of parameters, kept where the likelihood can be computed: people who are all alike have no
    finite best ones."""
    kept: Floats = np.clip(parameters, -_FURTHEST, _FURTHEST)
    return kept


def log_likelihood(r: float, alpha: float, a: float, b: float, x: Floats, t_x: Floats, age: Floats) -> Floats:
    """Per person (equation 6, in logarithms)."""
    from scipy.special import betaln, gammaln

    first = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    stayed = -(r + x) * np.log(alpha + age)
    repeat = np.maximum(x, 1)
    left = np.log(a) - np.log(b + repeat - 1) - (r + x) * np.log(alpha + t_x)
    both = np.where(x > 0, np.logaddexp(stayed, left), stayed)
    found: Floats = first + both
    return found


def fit_buying(
    frequency: npt.ArrayLike, recency: npt.ArrayLike, age: npt.ArrayLike, *, unit_s: float = 7 * DAY_S
) -> BuyingModel:
    """Maximum likelihood over people: repeat orders, time of the last and of now since the first, in
    ``unit_s``. Needs scipy (with the extra ``learn``). Under a second for a hundred thousand people.
    Raises :class:`InvalidDefinition` when nobody came back."""
    from scipy.optimize import minimize

    x, t_x, t = (np.asarray(column, np.float64) for column in (frequency, recency, age))
    if not (x > 0).any():
        raise InvalidDefinition("nobody ordered twice", seen=len(x), remedy="take a longer history")
    scale = max(float(t.max()), 1e-9) / 10

    def loss(parameters: Floats) -> float:
        r, alpha, a, b = np.exp(within(parameters))
        return -float(log_likelihood(r, alpha, a, b, x, t_x / scale, t / scale).mean())

    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options=PRECISE)
    r, alpha, a, b = np.exp(within(best.x))
    return BuyingModel(r=float(r), alpha=float(alpha * scale), a=float(a), b=float(b), unit_s=unit_s)


def hypergeometric(a: float, b: float, c: float, z: float) -> float:
    """Gauss' 2F1 by its series, for 0 <= z < 1.

    >>> round(hypergeometric(1, 1, 2, 0.5), 6)  # -log(0.5) / 0.5
    1.386294
    """
    term = total = 1.0
    for n in range(_TERMS):
        term *= (a + n) * (b + n) / (c + n) * z / (n + 1)
        total += term
        if abs(term) < 1e-12 * abs(total):
            break
    return total
