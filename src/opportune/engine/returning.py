"""Which sessions are of people who had been there before: new and known people are told apart in reports."""

from __future__ import annotations

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.engine.history import read_state, read_trainable
from opportune.engine.workspace import Workspace
from opportune.events.event import Event
from opportune.identity.as_of import members_as_of
from opportune.recommend.source import Interactions
from opportune.stores.disk import Disk


def sessions_of_known(
    disk: Disk, workspace: Workspace, catalog: Catalog, touches: Interactions
) -> frozenset[int]:
    """The sessions among ``touches`` (whole sessions) whose person, as they were joined when the session
    began, had an event before. One pass over the journal."""
    began: dict[int, tuple[Millis, int]] = {}
    columns = zip(touches.session.tolist(), touches.time.tolist(), touches.item.tolist(), strict=True)
    for session, time, item in columns:
        if session not in began or time < began[session][0]:
            began[session] = time, item
    wanted = set(began.values())
    leaf_of: dict[tuple[Millis, int], str] = {}
    first: dict[str, Millis] = {}
    for _, entry in read_trainable(disk, workspace):
        if not isinstance(entry, Event) or not entry.leaf:
            continue
        first[entry.leaf] = min(first.get(entry.leaf, entry.time), entry.time)
        for line in entry.lines:
            touch = entry.time, catalog.number(line.item_id)
            if touch in wanted:
                leaf_of[touch] = entry.leaf
    state, _ = read_state(disk, workspace)
    members = members_as_of(state.links_of, workspace.identity)
    return frozenset(
        session
        for session, touch in began.items()
        if touch in leaf_of
        and any(first.get(leaf, touch[0]) < touch[0] for leaf in members(leaf_of[touch], touch[0]))
    )
