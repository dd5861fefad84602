"""What goes through the log of a cluster to erase a person or keep them out: one order for each leaf."""

from __future__ import annotations

import msgspec

from opportune.clock import Millis
from opportune.events.event import Identifier


class Order(msgspec.Struct, array_like=True, tag="o", frozen=True):
    """``members`` are everybody who is meant, the strongest identifier first; ``name`` is the identifier
    whose records this copy is for: one of them, or a neighbour, whose links to them are to go.

    ``erases``: what is known is to go, and nothing that happened or was received up to ``time`` is taken in
    afterwards. ``suppress``: nothing ever is, until an order with ``lifted``.
    """

    id: str
    time: Millis
    name: Identifier
    members: tuple[Identifier, ...]
    erases: bool = True
    suppress: bool = False
    lifted: bool = False

    @property
    def is_first(self) -> bool:
        """Of all copies the one that others hear of."""
        return self.name == self.members[0]
