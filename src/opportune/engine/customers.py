"""The people of a data folder as propensities and lifetime models see them."""

from __future__ import annotations

from collections.abc import Iterator

from opportune.clock import DAY, Millis
from opportune.engine.history import read_state, read_trainable
from opportune.engine.workspace import Workspace
from opportune.errors import InvalidRequest
from opportune.events.event import Event
from opportune.identity.as_of import FOREVER, members_as_of
from opportune.learn.bundle import BUY, CHURN
from opportune.learn.examples import Examples, examples
from opportune.learn.lifetimes import Orders, orders_of
from opportune.learn.sample import sampled
from opportune.profiles.schema import ProfileSchema
from opportune.stores.disk import Disk


class Customers:
    """The people of a data folder who may be learnt from, joined as they are known to be."""

    def __init__(self, disk: Disk, workspace: Workspace) -> None:
        self._disk, self._workspace = disk, workspace
        state, _ = read_state(disk, workspace)
        self.members = members_as_of(state.links_of, workspace.identity)
        self.offsets = (0, 0)
        """The journal entries that were read."""
        self.window: tuple[Millis, Millis] = (0, 0)
        """From the first event of the people asked to their last."""

    def person_of(self, leaf: str) -> str:
        return self.members(leaf, FOREVER)[0]

    def events(self) -> Iterator[Event]:
        first = 0
        for seq, entry in read_trainable(self._disk, self._workspace):
            first = first or seq
            self.offsets = (first, seq)
            if isinstance(entry, Event) and entry.identifiers and not entry.withheld:
                yield entry

    def orders(self) -> Orders:
        return orders_of(self.events(), self.person_of)

    def asked(self, kind: str, most: int, horizon: Millis, times: int) -> tuple[Examples, Millis]:
        """People as they were at ``times`` moments, and what followed; with the newest of the moments, which
        is a horizon before the end. Raises :class:`InvalidRequest` when the history is too short."""
        known = sampled(self.events(), most, self.person_of)
        if not known:
            raise InvalidRequest("there are no events of people", seen=0, remedy="import some history")
        begin, end = min(e.time for e in known), max(e.time for e in known)
        first, newest_ask = begin + (end - begin) // 4, end - horizon
        if newest_ask <= first:
            raise InvalidRequest(
                "the history is too short for the horizon",
                seen=f"{(end - begin) / DAY:.1f} days of events, a horizon of {horizon / DAY:g} days",
                remedy="take a shorter one with --horizon-days",
            )
        steps = max(times - 1, 1)
        past = examples(
            ProfileSchema.of(self._workspace.features, "person"),
            known,
            times=[newest_ask - (newest_ask - first) * step // steps for step in range(times)],
            horizon=horizon,
            outcome="order_completed" if kind == BUY else "",
            absent=kind == CHURN,
            active=None if kind == BUY else horizon,
            members=self.members,
        )
        self.window = begin, end
        return past, newest_ask
