"""What is known when a person goes on to the next item: of the session, the person, the items, categories."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.recommend.source import Interactions, Kind, Query

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
HALF_DAY_MS = 12 * 3_600_000
DAY_MS = 24 * 3_600_000
NEAR = 8
"""Distinct items of a person, across sessions, that a new touch is paired with."""


class Events(msgspec.Struct, frozen=True):
    """In order of time: session number, item number, kind, milliseconds, person, category of each item."""

    history: Interactions
    user: Longs
    category: npt.NDArray[np.int32]


OF_CANDIDATE = (
    "touches in session", "visits in session", "steps back", "steps to the first touch", "carted in session",
    "seconds since", "stay in session", "touched before", "age before", "sessions before",
    "after the last", "share after the last", "before the last", "after the one before", "after itself",
    "after the last by person", "near the last by person", "carts a touch", "touches", "touches lately",
    "people", "seconds idle", "seconds known", "same category", "category in session", "share of session",
    "category after category", "place in category",
)  # fmt: skip
OF_SESSION = (
    "session length", "seconds since last", "seconds before last", "last was a cart", "distinct items",
    "streak", "events of person", "sessions of person", "repeats of person", "returns of person",
)  # fmt: skip


class Person:
    """Items with their last touch, the sessions each was in, and how often one event stayed on the item of
    the one before, or went back to an earlier one of its session."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.sessions: dict[int, set[int]] = defaultdict(set)
        self.newest: list[int] = []
        self.session = -1
        self.in_session: set[int] = set()
        self.events = self.visits = self.steps = self.stayed = self.moved = self.returned = 0

    def touch(self, at: int, item: int, session: int) -> None:
        if session != self.session:
            self.session, self.in_session = session, set()
            self.visits += 1
        else:
            self.steps += 1
            if item == self.newest[0]:
                self.stayed += 1
            else:
                self.moved += 1
                self.returned += item in self.in_session
        self.in_session.add(item)
        self.events += 1
        self.last.pop(item, None)
        self.last[item] = at
        self.sessions[item].add(session)
        self.newest = [item, *(one for one in self.newest if one != item)][:NEAR]


class Known:
    """Follows all events; :meth:`rows` describes candidates as of now."""

    def __init__(self, events: Events) -> None:
        items = len(events.category)
        self._category, self._history, self._user = events.category, events.history, events.user
        self.people: dict[int, Person] = defaultdict(Person)
        self.touches, self.carts, self.people_of = np.zeros(items), np.zeros(items), np.zeros(items)
        self._lately, self._since = np.zeros(items), np.zeros(items)
        self._last, self._first = np.full(items, np.nan), np.full(items, np.nan)
        self._after: dict[int, Counter[int]] = defaultdict(Counter)
        self._by_person: dict[int, Counter[int]] = defaultdict(Counter)
        self._near: dict[int, Counter[int]] = defaultdict(Counter)
        self._category_after: dict[int, Counter[int]] = defaultdict(Counter)

    def learn(self, at: int, before: int) -> None:
        """Event ``at`` has come; ``before``: the item before it in its session, -1 for none."""
        h = self._history
        item, now = int(h.item[at]), int(h.time[at])
        person = self.people[int(self._user[at])]
        if before >= 0:
            self._after[before][item] += 1
            self._category_after[int(self._category[before])][int(self._category[item])] += 1
        if person.newest:
            self._by_person[person.newest[0]][item] += 1
        for other in person.newest:
            if other != item:
                self._near[other][item] += 1
                self._near[item][other] += 1
        self.people_of[item] += item not in person.last
        person.touch(at, item, int(h.session[at]))
        self._lately[item] = self._faded(item, now) + 1
        self._since[item] = now
        self.touches[item] += 1
        self.carts[item] += h.kind[at] == Kind.CART
        self._last[item] = now
        if np.isnan(self._first[item]):
            self._first[item] = now

    def _faded(self, item: Any, now: int) -> Any:
        return self._lately[item] * 0.5 ** ((now - self._since[item]) / DAY_MS)

    def rows(self, query: Query, user: int, item: npt.NDArray[np.int32]) -> Floats:
        """(candidates, OF_CANDIDATE + OF_SESSION); ``item`` is sorted and has the session's items."""
        out = {name: np.full(len(item), np.nan, np.float32) for name in OF_CANDIDATE}
        session = query.session.tolist()
        person = self.people[user]
        self._of_session(out, query, item)
        self._of_person(out, query, person, item)
        self._of_items(out, query, item)
        streak = next((n for n, one in enumerate(session[::-1]) if one != session[-1]), len(session))
        age = query.age_s.tolist()
        whole = (
            len(session), age[-1], age[-2] - age[-1] if len(age) > 1 else math.nan,
            query.kind[-1] == Kind.CART, len(set(session)), streak, person.events, person.visits,
            (person.stayed + 1) / (person.steps + 3), (person.returned + 0.5) / (person.moved + 2),
        )  # fmt: skip
        columns = [*out.values(), *(np.full(len(item), value, np.float32) for value in whole)]
        return np.stack(columns, axis=1)

    def _of_session(self, out: dict[str, Floats], query: Query, item: npt.NDArray[np.int32]) -> None:
        age = [*query.age_s.tolist(), 0.0]
        for name in ("touches in session", "visits in session"):
            out[name][:] = 0
        session = query.session.tolist()
        for at, one in enumerate(session):
            place = int(np.searchsorted(item, one))
            if out["touches in session"][place] == 0:
                out["steps to the first touch"][place] = at
                out["stay in session"][place] = 0
            out["touches in session"][place] += 1
            out["visits in session"][place] += at == 0 or session[at - 1] != one
            out["steps back"][place] = len(session) - 1 - at
            out["seconds since"][place] = age[at]
            out["stay in session"][place] += age[at] - age[at + 1]
            if query.kind[at] == Kind.CART:
                out["carted in session"][place] = 1

    def _of_person(
        self, out: dict[str, Floats], query: Query, person: Person, item: npt.NDArray[np.int32]
    ) -> None:
        out["sessions before"][:] = 0
        for one, when in person.last.items():
            place = int(np.searchsorted(item, one))
            if place < len(item) and item[place] == one:
                out["touched before"][place] = 1
                out["age before"][place] = (query.now - self._history.time[when]) / 1000
                out["sessions before"][place] = len(person.sessions[one] - {person.session})

    def _of_items(self, out: dict[str, Floats], query: Query, item: npt.NDArray[np.int32]) -> None:
        session = query.session.tolist()
        last, previous = session[-1], session[-2] if len(session) > 1 else -1
        follows, earlier = self._after[last], self._after[previous]
        of_person, near = self._by_person[last], self._near[last]
        of_last = max(sum(follows.values()), 1)
        for place, one in enumerate(item.tolist()):
            itself = self._after.get(one, {})
            out["after the last"][place] = follows[one]
            out["share after the last"][place] = follows[one] / of_last
            out["before the last"][place] = itself.get(last, 0)
            out["after the one before"][place] = earlier[one]
            out["after itself"][place] = (itself.get(one, 0) + 0.3) / (self.touches[one] + 1)
            out["after the last by person"][place] = of_person[one]
            out["near the last by person"][place] = near[one] / math.sqrt(
                (self.people_of[one] + 1) * (self.people_of[last] + 1)
            )
        lately = self._faded(item, query.now)
        out["carts a touch"][:] = (self.carts[item] + 0.05) / (self.touches[item] + 1)
        out["touches"][:] = self.touches[item]
        out["touches lately"][:] = lately
        out["people"][:] = self.people_of[item]
        out["seconds idle"][:] = (query.now - self._last[item]) / 1000
        out["seconds known"][:] = (query.now - self._first[item]) / 1000
        category = self._category[item]
        mine = self._category[last]
        counted = Counter(self._category[query.session].tolist())
        out["same category"][:] = category == mine
        in_session = np.array([counted[c] for c in category.tolist()], np.float32)
        out["category in session"][:] = in_session
        out["share of session"][:] = in_session / len(session)
        moves = self._category_after[int(mine)]
        total = sum(moves.values())
        out["category after category"][:] = [(moves[c] + 0.1) / (total + 1) for c in category.tolist()]
        order = np.lexsort((-lately, category))
        first = np.r_[True, np.diff(category[order]) != 0]
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        out["place in category"][order] = np.arange(len(order)) - start
