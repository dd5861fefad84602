"""What people were known to look at, as a price, before each case that a ranker is trained or asked on."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.engine.customers import Customers
from opportune.engine.workspace import Workspace
from opportune.learn.training import PriceLevels
from opportune.profiles.definitions import FeatureSet
from opportune.profiles.pointintime import values_as_of
from opportune.profiles.schema import ProfileSchema
from opportune.recommend.rank_features import PRICE_LEVEL
from opportune.recommend.ranker import price_level
from opportune.recommend.source import Interactions
from opportune.stores.disk import Disk

_Touch = tuple[Millis, int]


def price_levels_of(disk: Disk, workspace: Workspace, catalog: Catalog) -> PriceLevels | None:
    """Reads :data:`PRICE_LEVEL` as a decision just before each row would have read it: by the same fold, from
    the events of the people who may be learnt from, joined as they were then. None where the workspace does
    not declare the feature, or not allow it for placements: then no decision has it either.

    A session whose person cannot be told (two people who touched the same items at the same times, somebody
    who does not allow training) has NaN. Two passes over the journal for each call.
    """
    declared = [one for one in workspace.features.of("person") if PRICE_LEVEL in one.outputs]
    if not declared or workspace.fence.against(PRICE_LEVEL, "placements") is not None:
        return None
    schema = ProfileSchema.of(FeatureSet(tuple(declared), "nothing"), "person")

    def levels(touches: Interactions, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        people = Customers(disk, workspace)
        leaf_of = _leaf_of(people, catalog, touches, frozenset(touches.session[rows].tolist()))
        out = np.full(len(rows), math.nan)
        asks: list[tuple[str, Millis]] = []
        places: list[int] = []
        for place, row in enumerate(rows.tolist()):
            leaf = leaf_of.get(int(touches.session[row]))
            if leaf is not None:
                # The touch asked for is never part of it, also where its clock is coarse or went backwards.
                asks.append((leaf, min(int(touches.time[row - 1]), int(touches.time[row]) - 1)))
                places.append(place)
        values = values_as_of(schema, people.events(), asks, members=people.members)
        out[places] = [price_level(value) for value in values]
        return out

    return levels


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
