"""Who may not come in, as a door of the cluster knows it: from the serving copy, and from what it heard."""

from __future__ import annotations

from collections import OrderedDict

from opportune.clock import Millis
from opportune.engine.sealed import SealedEntries
from opportune.events.event import Identifier
from opportune.privacy.order import Order
from opportune.streams.serving_records import ServingRecords
from opportune.streams.stones import NO_STONE, Stone

MOST_HEARD = 10_000


class Door(SealedEntries):
    """Seals nothing; tombstones are those of the workers. An order that was heard holds at once, before the
    workers have carried it out."""

    def __init__(self, records: ServingRecords) -> None:
        super().__init__(None, seal=False)
        self._records = records
        self._heard: OrderedDict[Identifier, Stone] = OrderedDict()

    @property
    def has_tombstones(self) -> bool:
        return True

    def hear(self, order: Order) -> None:
        for name in order.members:
            self._heard[name] = self._heard.get(name, NO_STONE).after(order, 0)
        while len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)

    def stone(self, identifier: Identifier) -> tuple[Millis, bool]:
        kept = self._records.stone(identifier)
        heard = self._heard.get(identifier)
        if heard is None:
            return kept.at, kept.suppressed
        # Whoever was let in again lets the workers' word decide, once they have it.
        return max(kept.at, heard.at), heard.suppressed
