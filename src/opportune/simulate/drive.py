"""Simulated shoppers at a real shop's door, and the report of what was true of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from opportune.clock import Clock
from opportune.simulate.visits import Answer, Visits

_BATCH = 20


class Server(Protocol):
    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...


class Told:
    """What happened, for the report: decisions, arms, responses, the regret of what was chosen."""

    def __init__(self, visits: Visits, arms: Sequence[str]) -> None:
        self.visits = visits
        self.arms = list(arms)
        self.decisions = self.events = self.refused = self.personal = 0
        self.shown = np.zeros(len(arms), dtype=np.int64)
        self.responses = np.zeros(len(arms), dtype=np.int64)
        self.expected = 0.0
        self.possible = 0.0

    def report(self) -> dict[str, Any]:
        """Plain JSON. ``true_lift`` is per arm against the first, over the whole population at the middle of
        the span; ``lost`` what better choices would have brought in responses."""
        truth = self.visits.truth
        middle = self.visits.middle
        everybody = np.arange(min(len(truth.population), 100_000))
        best = np.bincount(truth.best(everybody, middle), minlength=len(self.arms))
        return {
            "visits": len(self.visits),
            "decisions": self.decisions,
            "personal": self.personal,
            "refused": self.refused,
            "events": self.events,
            "arms": {
                arm: {
                    "shown": int(self.shown[i]),
                    "responses": int(self.responses[i]),
                    "true_lift": truth.lift(i, 0, middle),
                    "best_for": round(float(best[i] / len(everybody)), 4),
                }
                for i, arm in enumerate(self.arms)
            },
            "expected_responses": round(self.expected, 2),
            "lost": round(self.possible - self.expected, 2),
        }


def drive(
    server: Server,
    visits: Visits,
    *,
    placement: str,
    arms: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
    clock: Clock | None = None,
) -> Told:
    """Every visit asks for a decision and does what its shopper would; later purchases are sent when their
    time comes, and the last ones at the end. ``arms`` name the variants of the experiment at the
    placement, in order; a decision without one is the first.

    Decisions are made when they are asked for. Events carry the simulated time, or with a ``clock`` the time
    at which they are sent, so that they come after their decisions.
    """
    told = Told(visits, arms)
    number = {arm: i for i, arm in enumerate(arms)}
    later: list[tuple[str, dict[str, Any]]] = []
    ready: list[dict[str, Any]] = []
    for done, visit in enumerate(visits):
        answer = server.post("/v1/decide", visits.request(visit, placement))
        decisions = answer.get("decisions") or ()
        if not decisions:
            told.refused += 1
        shown = Answer("", -1, ())
        for decision in decisions[:1]:
            arm = number.get((decision.get("experiment") or {}).get("variant", ""), 0)
            told.decisions += 1
            told.personal += decision.get("consent") == "personal"
            told.shown[arm] += 1
            chance = visits.truth.chances(np.array([visit.shopper]), visit.time)[0]
            told.expected += float(chance[arm])
            told.possible += float(chance.max())
            shown = Answer(decision["decision_id"], arm, tuple(i["item_id"] for i in decision["items"]))
        events = visits.events(visit, shown)
        told.responses[max(shown.arm, 0)] += len(events) > 1
        for event in events:
            if event["event"] == "Order Completed":
                later.append((event["timestamp"], event))
            else:
                ready.append(event)
        now = events[0]["timestamp"]
        ready += [event for at, event in later if at <= now]
        later = [(at, event) for at, event in later if at > now]
        if len(ready) >= _BATCH:
            told.events += _send(server, ready, clock)
            ready = []
        progress(done + 1)
    last = [event for _, event in sorted(later, key=lambda each: each[0])]
    told.events += _send(server, ready + last, clock)
    return told


def _send(server: Server, events: list[dict[str, Any]], clock: Clock | None) -> int:
    """Events posted; batches of at most ``_BATCH``."""
    if clock is not None:
        stamp = datetime.fromtimestamp(clock() / 1000, UTC).isoformat()
        events = [{**event, "timestamp": stamp} for event in events]
    for first in range(0, len(events), _BATCH):
        server.post("/v1/batch", {"batch": events[first : first + _BATCH]})
    return len(events)
