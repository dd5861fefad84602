"""The one typed event that every dialect becomes, and that the journal keeps."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.clock import Millis

Identifier = str
"""``type:value``, for example ``user_id:u1``; the type never contains a colon, the value may."""


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One product in an event: a viewed item, a line of an order, a row of a list.

    ``category`` and ``brand`` are what the event said or, where it did not say, what the catalogue said when
    the event was admitted: folds never look anything up.
    """

    item_id: str
    quantity: float = 1.0
    price: float | None = None
    category: str = ""
    brand: str = ""
    position: int | None = None


class Event(msgspec.Struct, array_like=True, tag="e"):
    """Something that a person did, or that became known about a person or an item.

    ``kind`` is the call it came as: ``track identify page screen group alias`` from the tracking API,
    ``item`` for a catalogue update. ``name`` is canonical snake case for e-commerce events
    (``product_viewed``, ``order_completed``; see ``events/ecommerce.py``) and verbatim for everything else.

    ``time`` is event time, corrected for the client's clock; ``received`` is arrival. ``identifiers`` are
    ordered strongest first: the first one names the leaf that the event is folded into.
    ``lines`` are the items it is about, ``value`` its money (order total), ``query`` its search text.
    ``properties``, ``traits`` and ``context`` keep everything that was sent, known or not.
    ``withheld`` are the uses that the person's consent did not allow when the event came (bits of ``Use``).
    ``slot`` is the key that seals it in the journal, -1 for none.
    """

    kind: str
    name: str
    message_id: str
    source: str
    time: Millis
    received: Millis
    identifiers: tuple[Identifier, ...] = ()
    session_id: str = ""
    lines: tuple[Line, ...] = ()
    value: float | None = None
    query: str = ""
    decision_id: str = ""
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    withheld: int = 0
    slot: int = -1

    @property
    def leaf(self) -> Identifier:
        """The strongest identifier; empty for events about items only."""
        return self.identifiers[0] if self.identifiers else ""

    @property
    def item_id(self) -> str:
        """The item that the event is about, when it is about exactly one or leads with one; else empty."""
        return self.lines[0].item_id if self.lines else ""

    def about(self, item_id: str) -> list[Line]:
        """The lines that are about one item."""
        return [line for line in self.lines if line.item_id == item_id]


class DeadLetter(msgspec.Struct, array_like=True, tag="x"):
    """A received event that could not be stored: the bytes as they came, and why.

    ``where`` is a JSON path into ``raw`` (``$.properties.price``). ``attempt`` counts replays.
    """

    letter_id: str
    source: str
    received: Millis
    code: str
    reason: str
    where: str
    raw: bytes
    attempt: int = 0
    dialect: str = "segment"


class Tally(msgspec.Struct, array_like=True, tag="t"):
    """How one commit group counted what it received, per source; the sums always agree:
    received = stored + duplicate + rejected + suppressed + filtered."""

    source: str
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    suppressed: int = 0
    filtered: int = 0
    replayed: int = 0


class Resolved(msgspec.Struct, array_like=True, tag="r"):
    """A dead letter that was dealt with: replayed after a fix, or discarded."""

    letter_id: str
    outcome: str
    time: Millis
