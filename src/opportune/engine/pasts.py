"""The earlier visits of people as they were before each case that a ranker is trained or asked on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.engine.customers import Customers
from opportune.engine.workspace import Workspace
from opportune.learn.training import Pasts
from opportune.profiles.history import HISTORY, history_before
from opportune.profiles.leaf import Leaf
from opportune.profiles.pointintime import read_as_of
from opportune.profiles.schema import ProfileSchema, trim
from opportune.recommend.past import NO_PAST, Past, past_of
from opportune.recommend.source import Interactions
from opportune.stores.disk import Disk

_Touch = tuple[Millis, int]


def pasts_of(disk: Disk, workspace: Workspace, catalog: Catalog) -> Pasts:
    """Reads the history of each case's person as a decision just before it would have read it: by the same
    fold and the same function, from the events of people who may be learnt from, joined as they were then.

    A session whose person cannot be told (two people who touched the same items at the same times, somebody
    who does not allow training) has none. Two passes over the journal for each call, 20 us a case.
    """
    schema = ProfileSchema((), "person")

    def pasts(touches: Interactions, rows: npt.NDArray[np.int64]) -> list[Past]:
        people = Customers(disk, workspace)
        leaf_of = _leaf_of(people, catalog, touches, frozenset(touches.session[rows].tolist()))
        out = [NO_PAST] * len(rows)
        begins = np.searchsorted(touches.session, touches.session[rows])
        asks: list[tuple[str, Millis, Callable[[Leaf], Past]]] = []
        places: list[int] = []
        for place, (row, first) in enumerate(zip(rows.tolist(), begins.tolist(), strict=True)):
            leaf = leaf_of.get(int(touches.session[row]))
            if leaf is not None:
                # The touch asked for is never part of it, also where its clock is coarse or went backwards.
                now = int(touches.time[row])
                as_of = min(int(touches.time[row - 1]), now - 1)
                asks.append((leaf, as_of, partial(_past, catalog, int(touches.time[first]), now)))
                places.append(place)
        found = read_as_of(schema, people.events(), asks, members=people.members)
        for place, past in zip(places, found, strict=True):
            out[place] = past
        return out

    return pasts


def _past(catalog: Catalog, before: Millis, now: Millis, leaf: Leaf) -> Past:
    trim(leaf)
    history = history_before(leaf.touches, leaf.bought, leaf.dismissed, before)
    return past_of({HISTORY: history}, catalog.number, now)


def _leaf_of(
    people: Customers, catalog: Catalog, touches: Interactions, sessions: frozenset[int]
) -> dict[int, str]:
    """The identifier behind each of the sessions: the one that all of its touches came under."""
    of_session: dict[int, set[_Touch]] = defaultdict(set)
    columns = zip(touches.session.tolist(), touches.time.tolist(), touches.item.tolist(), strict=True)
    for session, time, item in columns:
        if session in sessions:
            of_session[session].add((time, item))
    leaves: dict[_Touch, set[str]] = {touch: set() for asked in of_session.values() for touch in asked}
    for event in people.events():
        for line in event.lines:
            found = leaves.get((event.time, catalog.number(line.item_id)))
            if found is not None:
                found.add(event.leaf)
    told: dict[int, str] = {}
    for session, asked in of_session.items():
        common = set.intersection(*(leaves[touch] for touch in asked))
        if len(common) == 1:
            told[session] = common.pop()
    return told
