"""Which decision an event came of, and what became of each decision."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from opportune.clock import Millis
from opportune.errors import Corrupt
from opportune.events.ecommerce import INTERACTION
from opportune.events.event import Event

MAX_OUTCOMES = 200
"""Outcomes kept one by one for a decision: the earliest. The counts go on."""
MAX_KINDS = 32
IMPRESSIONS = frozenset({"product_list_viewed", "promotion_viewed"})
_MAX_KIND_CHARS = 64
_MICROS = 1_000_000
_MOST_MICROS = 2**62


class Exposure(Protocol):
    """A decision that was shown to the person."""

    @property
    def time(self) -> Millis: ...

    @property
    def decision_id(self) -> str: ...

    @property
    def item_ids(self) -> Sequence[str]: ...


def attribute(event: Event, exposures: Sequence[Exposure], window_ms: Millis) -> str | None:
    """The decision that an event came of, or None: the one it names itself, else the newest exposure at most
    ``window_ms`` before it that showed one of its items.

    ``exposures`` are sorted by time, then decision id, oldest first. Only views, cart additions and orders
    are outcomes by last touch; any event may name its decision. O(exposures x items).
    """
    if event.decision_id:
        return event.decision_id
    if event.name not in INTERACTION or not event.lines:
        return None
    time = event.time
    since = time - window_ms
    items = [line.item_id for line in event.lines]
    for exposure in reversed(exposures):
        if exposure.time > time:
            continue
        if exposure.time < since:
            return None
        shown = exposure.item_ids
        for item_id in items:
            if item_id in shown:
                return exposure.decision_id
    return None


class Outcome(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """Something that happened to an item after a decision. ``kind`` is ``view``, ``cart``, ``buy``, or the
    name of another event; ``micros`` is its money in millionths (whole, so that sums have no order)."""

    time: Millis
    message_id: str
    item_id: str
    kind: str
    micros: int = 0


class DecisionOutcomes(msgspec.Struct, array_like=True):
    """What became of one decision. ``offset`` is the last journal sequence folded in, 0 before the first.

    ``outcomes`` are the earliest ``MAX_OUTCOMES``, sorted; ``counts`` and ``micros`` are by kind, of all.
    The same whatever the order in which events arrive.
    """

    offset: int = 0
    outcomes: list[Outcome] = []
    counts: dict[str, int] = {}
    micros: dict[str, int] = {}

    def fold(self, event: Event, offset: int = 0) -> None:
        """Take in an event that came of this decision."""
        self.offset = max(self.offset, offset)
        for outcome in outcomes_of(event):
            _keep(self.outcomes, outcome)
            _count(self.counts, outcome.kind, 1)
            if outcome.micros:
                _count(self.micros, outcome.kind, outcome.micros)
        _cut(self.counts)
        _cut(self.micros)

    def combine(self, other: DecisionOutcomes) -> DecisionOutcomes:
        """What both have seen; neither is changed. They must not have folded the same events."""
        both = DecisionOutcomes(
            max(self.offset, other.offset), list(self.outcomes), dict(self.counts), dict(self.micros)
        )
        for outcome in other.outcomes:
            _keep(both.outcomes, outcome)
        for mine, theirs in ((both.counts, other.counts), (both.micros, other.micros)):
            for kind, amount in theirs.items():
                _count(mine, kind, amount)
            _cut(mine)
        return both

    def to_list(self) -> list[dict[str, Any]]:
        """The outcomes as plain JSON, oldest first."""
        return [
            {
                "item_id": outcome.item_id,
                "kind": outcome.kind,
                "time": outcome.time,
                "value": outcome.micros / _MICROS,
                "message_id": outcome.message_id,
            }
            for outcome in self.outcomes
        ]

    def value(self) -> float:
        """The money of all orders that came of the decision."""
        return self.micros.get("buy", 0) / _MICROS


class OutcomesFold:
    """:class:`DecisionOutcomes` as a fold."""

    def zero(self) -> DecisionOutcomes:
        return DecisionOutcomes(outcomes=[], counts={}, micros={})

    def fold(self, state: DecisionOutcomes, event: Event) -> DecisionOutcomes:
        state.fold(event)
        return state

    def combine(self, a: DecisionOutcomes, b: DecisionOutcomes) -> DecisionOutcomes:
        return a.combine(b)

    def read(self, state: DecisionOutcomes, now: Millis) -> dict[str, Any]:
        return {
            "outcomes": state.to_list(),
            "counts": dict(sorted(state.counts.items())),
            "value": state.value(),
        }


def outcomes_of(event: Event) -> list[Outcome]:
    """The outcomes that an event is: one per line, or one without an item; none for a list that was merely
    seen, which is what a decision is for and not what came of it."""
    if event.name in IMPRESSIONS:
        return []
    kind = INTERACTION.get(event.name, event.name[:_MAX_KIND_CHARS])
    if not event.lines:
        return [Outcome(event.time, event.message_id, "", kind, micros_of(event.value))]
    return [
        Outcome(
            event.time,
            event.message_id,
            line.item_id,
            kind,
            0 if line.price is None else micros_of(line.price * line.quantity),
        )
        for line in event.lines
    ]


def micros_of(value: float | None) -> int:
    """Money as a whole number of millionths; 0 for what is none.

    >>> micros_of(12.75), micros_of(float("nan")), micros_of(None)
    (12750000, 0, 0)
    """
    if value is None or not -1e12 < value < 1e12:
        return 0
    return round(value * _MICROS)


def _keep(outcomes: list[Outcome], outcome: Outcome) -> None:
    insort(outcomes, outcome)
    if len(outcomes) > MAX_OUTCOMES:
        outcomes.pop()


def _count(amounts: dict[str, int], kind: str, amount: int) -> None:
    amounts[kind] = max(-_MOST_MICROS, min(_MOST_MICROS, amounts.get(kind, 0) + amount))


def _cut(amounts: dict[str, int]) -> None:
    """Keep the first ``MAX_KINDS`` kinds by name: which they are does not depend on the order of arrival."""
    while len(amounts) > MAX_KINDS:
        del amounts[max(amounts)]


class _OutcomesCodec:
    """How a checkpoint keeps the record; equal records have equal bytes."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder(order="sorted").encode
        self._decode = msgspec.msgpack.Decoder(DecisionOutcomes).decode

    def zero(self) -> DecisionOutcomes:
        return DecisionOutcomes(outcomes=[], counts={}, micros={})

    def encode(self, record: DecisionOutcomes) -> bytes:
        return self._encode(record)

    def decode(self, data: bytes) -> DecisionOutcomes:
        try:
            return self._decode(data)
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"the outcomes of a decision cannot be read ({error})", remedy="rebuild from the journal"
            ) from error


OUTCOMES_CODEC = _OutcomesCodec()
