"""The accounting of events: every received event ends in exactly one of five ways, and the sums say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from opportune.events.event import Tally
from opportune.events.verdicts import Outcome

ENDS = ("stored", "duplicate", "rejected", "suppressed", "filtered")


class Accounting(msgspec.Struct):
    """A fold of :class:`Tally` entries, one running total per source.

    ``offset`` is the last journal sequence folded; an entry at or below it is skipped, so a replay over a
    checkpoint counts nothing twice.
    """

    sources: dict[str, Tally] = {}
    offset: int = -1

    def fold(self, tally: Tally, offset: int) -> None:
        if offset <= self.offset:
            return
        self.offset = offset
        total = self.sources.get(tally.source)
        if total is None:
            total = self.sources[tally.source] = Tally(tally.source)
        _add(total, tally)

    def combine(self, other: Accounting) -> Accounting:
        """The totals of two disjoint journals together; both stay as they were."""
        both = Accounting(offset=max(self.offset, other.offset))
        for part in (self, other):
            for name, tally in part.sources.items():
                _add(both.sources.setdefault(name, Tally(name)), tally)
        return both

    def total(self) -> Tally:
        everything = Tally("")
        for tally in self.sources.values():
            _add(everything, tally)
        return everything

    def to_dict(self) -> dict[str, Any]:
        """What ``GET /v1/accounting`` answers."""
        return {
            "balanced": all(is_balanced(tally) for tally in self.sources.values()),
            "total": _counts(self.total()),
            "sources": {name: _counts(tally) for name, tally in sorted(self.sources.items())},
        }


def summed(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally for each source, in order of first mention."""
    sums: dict[str, Tally] = {}
    for tally in tallies:
        known = sums.get(tally.source)
        if known is None:
            sums[tally.source] = tally
        else:
            _add(known, tally)
    return list(sums.values())


def is_balanced(tally: Tally) -> bool:
    """received = stored + duplicate + rejected + suppressed + filtered, and nothing below zero."""
    ends = [getattr(tally, end) for end in ENDS]
    return bool(tally.received == sum(ends) and min(ends) >= 0)


def replayed(source: str, outcome: Outcome) -> Tally:
    """What replaying a dead letter adds. The event was received and counted as rejected long ago, so it moves
    from there to its new end, and ``received`` stays; a letter that is refused again moves nowhere."""
    tally = Tally(source, rejected=-1, replayed=1)
    setattr(tally, outcome, getattr(tally, outcome) + 1)
    return tally


def _add(total: Tally, tally: Tally) -> None:
    total.received += tally.received
    total.stored += tally.stored
    total.duplicate += tally.duplicate
    total.rejected += tally.rejected
    total.suppressed += tally.suppressed
    total.filtered += tally.filtered
    total.replayed += tally.replayed


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "received": tally.received,
        **{end: getattr(tally, end) for end in ENDS},
        "replayed": tally.replayed,
        "balanced": is_balanced(tally),
    }
