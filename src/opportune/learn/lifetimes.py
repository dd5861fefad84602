"""Customers as the models of buying see them, out of the events of a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.clock import DAY, Millis
from opportune.errors import InvalidDefinition
from opportune.events.event import Event
from opportune.learn.buying import BuyingModel, fit_buying
from opportune.learn.spending import SpendingModel, fit_spending

Floats = npt.NDArray[np.float64]
WEEK = 7 * DAY
HELD_OUT = 0.25
ORDER = "order_completed"


class Orders(NamedTuple):
    """A row per order, in order of customer, then of time."""

    customer: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    value: Floats


def orders_of(events: Iterable[Event], person_of: Callable[[str], str] = lambda leaf: leaf) -> Orders:
    """Every order with a customer: the person of the leaf that it arrived with."""
    number: dict[str, int] = {}
    rows = sorted(
        (number.setdefault(person_of(e.leaf), len(number)), e.time, float(e.value or 0.0))
        for e in events
        if e.name == ORDER and e.leaf
    )
    customer, time, value = zip(*rows, strict=True) if rows else ((), (), ())
    return Orders(np.array(customer, np.int64), np.array(time, np.int64), np.array(value, np.float64))


def summed(orders: Orders, now: Millis) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]:
    """(repeat orders, weeks from the first to the last, weeks from the first to ``now``, customers) of all
    who had ordered by then."""
    seen = orders.time <= now
    customers, first_at, count = np.unique(orders.customer[seen], return_index=True, return_counts=True)
    time = orders.time[seen]
    first, last = time[first_at], time[first_at + count - 1]
    return (count - 1).astype(float), (last - first) / WEEK, (now - first) / WEEK, customers


def train_lifetimes(orders: Orders) -> tuple[BuyingModel, SpendingModel, dict[str, Any]]:
    """BG/NBD and Gamma-Gamma on all of the history, and what they foretold of its last quarter when fitted on
    what was before. Raises :class:`InvalidDefinition` when nobody ordered twice."""
    if len(orders.time) < 2:
        raise InvalidDefinition("there are no orders", seen=len(orders.time), remedy="import more history")
    begin, now = int(orders.time.min()), int(orders.time.max())
    cut = now - int((now - begin) * HELD_OUT)
    metrics = _foretold(orders, cut, now)
    x, t_x, age, _ = summed(orders, now)
    buying = fit_buying(x, t_x, age)
    count = np.bincount(orders.customer).astype(float)
    spent = np.bincount(orders.customer, orders.value)
    known = count > 0
    spending = fit_spending(count[known], spent[known] / count[known])
    return buying, spending, metrics


def evaluate_lifetimes(orders: Orders, model: BuyingModel) -> dict[str, Any]:
    """What a model that is there already foretells of the last quarter. Raises :class:`InvalidDefinition`
    when there are no orders."""
    if len(orders.time) < 2:
        raise InvalidDefinition("there are no orders", seen=len(orders.time), remedy="import more history")
    begin, now = int(orders.time.min()), int(orders.time.max())
    return _foretold(orders, now - int((now - begin) * HELD_OUT), now, model)


def _foretold(orders: Orders, cut: Millis, now: Millis, model: BuyingModel | None = None) -> dict[str, Any]:
    x, t_x, age, customers = summed(orders, cut)
    if model is None:
        if not (x > 0).any():
            return {"customers": len(x), "why_not": "nobody came back before the last quarter"}
        model = fit_buying(x, t_x, age)
    ahead = (now - cut) / WEEK
    expected = np.array([model.expected(*one, ahead) for one in zip(x, t_x, age, strict=True)])
    later = orders.customer[orders.time > cut]
    came = np.bincount(later, minlength=int(orders.customer.max()) + 1)[customers].astype(float)
    return {
        "customers": len(x),
        "weeks": round(ahead, 2),
        "orders_expected": round(float(expected.sum()), 1),
        "orders_came": int(came.sum()),
        "mean_error": round(float(np.abs(expected - came).mean()), 4),
        "mean_error_of_the_average": round(float(np.abs(came.mean() - came).mean()), 4),
    }
