"""What a placement optimizes: weights over what each candidate is likely to lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from opportune.catalog.items import Catalog
from opportune.decide.candidates import Pool
from opportune.decide.placement import Outcome
from opportune.decide.rank import unit
from opportune.recommend.source import Floats, Items, Query

COST = "_cost"
"""The private attribute of an item that margin is what is left of its price after."""
_CHANCE_OF: dict[Outcome, str] = {"revenue": "buy", "margin": "buy"}


@runtime_checkable
class Foreteller(Protocol):
    """A ranker that also foretells: the chance of each of its ``outcomes``, per candidate."""

    outcomes: tuple[str, ...]

    def foretell(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> dict[str, Floats]: ...


def no_cost(items: Items) -> Floats:
    return np.zeros(len(items), np.float32)


def lacking(ranker: object, objective: Mapping[Outcome, float]) -> list[str]:
    """The chances that the objective needs and the ranker has no model of."""
    known = ranker.outcomes if isinstance(ranker, Foreteller) else ()
    return sorted({_CHANCE_OF.get(name, name) for name in objective} - set(known))


def rank_toward(
    pool: Pool,
    ranker: Foreteller,
    query: Query,
    features: Mapping[str, Any],
    objective: Mapping[Outcome, float],
    catalog: Catalog,
    cost: Callable[[Items], Floats],
) -> Floats:
    """Scores of 0 to 1 parallel to the pool: by the expected value of showing each candidate, ``sum(weight x
    chance)``, where ``revenue`` is the chance of a purchase times the price and ``margin`` that times what
    the price leaves over the cost. An item without a price brings none; one without a cost has its whole
    price as margin. What was foretold, and what it is worth, is put on the pool, for the record and for a
    ranker on trial."""
    if not len(pool):
        return pool.score
    chance = ranker.foretell(pool.item, pool.score, query, features, pool.said, pool.names[: len(pool.said)])
    pool.foretold = {name: chance[_CHANCE_OF.get(name, name)] for name in objective}
    pool.objective = {str(name): weight for name, weight in objective.items()}
    pool.worth = worth_of(pool.item, objective, catalog, cost)
    return expected(chance, pool.worth)


def worth_of(
    items: Items, objective: Mapping[Outcome, float], catalog: Catalog, cost: Callable[[Items], Floats]
) -> dict[str, Floats]:
    """By chance, what each item is worth when it comes true."""
    found: dict[str, Floats] = {}
    for name, weight in objective.items():
        worth = np.full(len(items), weight, np.float32)
        if name in _CHANCE_OF:
            price = np.nan_to_num(catalog.price[items], nan=0.0)
            worth *= price if name == "revenue" else price - np.where(price > 0, cost(items), 0.0)
        chance = _CHANCE_OF.get(name, name)
        found[chance] = found[chance] + worth if chance in found else worth
    return found


def expected(chance: Mapping[str, Floats], worth: Mapping[str, Floats]) -> Floats:
    """Scores of 0 to 1: the expected worth of each item."""
    total: Any = 0.0
    for name, value in worth.items():
        total = total + chance[name].astype(np.float64) * value
    return unit(total.astype(np.float32))
