"""Who comes by when, and what they do: the same wire messages that real clients send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from opportune.clock import HOUR, MINUTE, SECOND, Millis
from opportune.simulate.truth import Truth


class Visit(NamedTuple):
    """One visit by one shopper on one device; ``number`` makes its identifiers."""

    number: int
    time: Millis
    shopper: int
    device: int
    signed_in: bool


class Answer(NamedTuple):
    """What the shop showed: the decision, the arm it names (its number among the settings' arms, -1 for
    none), its items."""

    decision_id: str
    arm: int
    item_ids: tuple[str, ...]


class Visits:
    """Visits in order of time, evenly over the hours of a span; the seed decides all of it."""

    def __init__(self, truth: Truth, seed: int, since: Millis, until: Millis, per_day: float = 0.3) -> None:
        self.truth = truth
        self.middle: Millis = (since + until) // 2
        population = truth.population
        rng = np.random.default_rng([seed, 3])
        days = (until - since) / (24 * HOUR)
        count = int(rng.poisson(len(population) * per_day * days))
        self._time = np.sort(rng.integers(since, until, count))
        self._shopper = rng.integers(0, len(population), count)
        self._chance = rng.random((count, 6))

    def __len__(self) -> int:
        return len(self._time)

    def __iter__(self) -> Iterator[Visit]:
        population = self.truth.population
        for number in range(len(self)):
            shopper = int(self._shopper[number])
            second = int(population.second[shopper])
            away = second >= 0 and self._chance[number, 0] < 0.5
            yield Visit(
                number,
                int(self._time[number]),
                shopper,
                second if away else int(population.device[shopper]),
                bool(population.logs_in[shopper] and self._chance[number, 1] < 0.7),
            )

    def request(self, visit: Visit, placement: str) -> dict[str, Any]:
        """What the page asks (``POST /v1/decide``); ``context`` has the tastes that the shop can know."""
        population = self.truth.population
        identifiers = {"anonymous_id": population.anonymous_id(visit.device)}
        if visit.signed_in:
            identifiers["user_id"] = population.user_id(visit.shopper)
        liking = population.liking[visit.shopper]
        return {
            "placement": placement,
            "identifiers": identifiers,
            "session_id": f"visit-{population.seed}-{visit.number}",
            "context": {f"taste_{i}": round(float(value), 3) for i, value in enumerate(liking)},
        }

    def events(self, visit: Visit, answer: Answer) -> list[dict[str, Any]]:
        """What the shopper then does, as tracking events in order of time: a page seen, perhaps a click on
        what was shown, perhaps an order that comes hours later. Who refuses consent says so with each
        event."""
        population, settings = self.truth.population, self.truth.population.settings
        chance = self._chance[visit.number]
        found = [self._event(visit, 0, visit.time, "Home Viewed", {})]
        if visit.signed_in:
            found[0] = {**found[0], "userId": population.user_id(visit.shopper)}
        if answer.arm < 0:
            responds = False
        else:
            one = np.array([visit.shopper])
            responds = chance[2] < self.truth.chances(one, visit.time)[0, answer.arm]
        if not responds:
            return found
        place = self._place(chance[3], len(answer.item_ids))
        clicked = {"decision_id": answer.decision_id}
        if place >= 0:
            clicked["product_id"] = answer.item_ids[place]
        found.append(self._event(visit, 1, visit.time + 20 * SECOND, "Product Clicked", clicked))
        if place >= 0 and chance[4] < 0.3:
            later = visit.time + MINUTE + round(-np.log1p(-chance[5]) * settings.delay_hours * HOUR)
            order = {
                "order_id": f"order-{population.seed}-{visit.number}",
                "decision_id": answer.decision_id,
                "total": 20.0,
                "currency": "GBP",
                "products": [{"product_id": answer.item_ids[place], "quantity": 1, "price": 20.0}],
            }
            found.append(self._event(visit, 2, later, "Order Completed", order))
        return found

    def _place(self, chance: float, places: int) -> int:
        """Which place of the list is clicked: higher ones more often; -1 without a list."""
        if not places:
            return -1
        weight = np.array([self.truth.looked_at(place) for place in range(places)])
        return int(
            np.searchsorted(np.cumsum(weight / weight.sum()), chance, side="right").clip(0, places - 1)
        )

    def _event(
        self, visit: Visit, step: int, time: Millis, name: str, properties: dict[str, Any]
    ) -> dict[str, Any]:
        population = self.truth.population
        at = datetime.fromtimestamp(time / 1000, UTC).isoformat()
        context: dict[str, Any] = {
            "sessionId": f"visit-{population.seed}-{visit.number}",
            "library": {"name": "opportune-simulate"},
        }
        if population.bot[visit.shopper]:
            context["userAgent"] = "SimBot/1.0 (+crawler)"
        if population.refuses[visit.shopper]:
            context["consent"] = {"categoryPreferences": {"Advertising": False, "Analytics": False}}
        return {
            "type": "track",
            "event": name,
            "messageId": f"sim-{population.seed}-{visit.number}-{step}",
            "anonymousId": population.anonymous_id(visit.device),
            "properties": properties,
            "context": context,
            "timestamp": at,
        }
