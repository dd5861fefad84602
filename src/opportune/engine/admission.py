"""The door: received items become journal entries, each item with exactly one verdict.

Whatever depends on state is decided here and stamped onto the event (what the catalogue says of its items,
the decision that an outcome belongs to), so that folding an entry later depends on that entry alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.engine.entries import Entry
from opportune.events import verdicts
from opportune.events.accounting import summed
from opportune.events.dead_letters import letter
from opportune.events.event import DeadLetter, Event, Tally
from opportune.events.rejected import Rejected
from opportune.events.verdicts import Verdict

SHARED = 128
"""Items, more or less, that share a commit group: a record is read with the whole of its group."""

RawItem = bytes | msgspec.Raw | dict[str, Any] | Event


class Admission(msgspec.Struct):
    """Items that passed the door and are not on disk yet. ``verdicts`` is parallel to the items; ``entries``
    go to the journal in one commit group, the tally last (see :func:`shared`); ``marks`` are the
    de-duplication digests of the events among them, which all arrived at ``received``."""

    verdicts: list[Verdict]
    entries: list[Entry]
    marks: list[bytes] = []
    received: Millis = 0
    first_seq: int = 0
    is_durable: bool = False


class Receipt(msgspec.Struct, frozen=True):
    """What became of what was received, once it is on disk; ``received`` is the sum of the other counts."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    suppressed: int = 0
    filtered: int = 0
    verdicts: list[Verdict] = []


def receipt(items: Sequence[Verdict]) -> Receipt:
    counts = verdicts.tally("", [item.verdict for item in items])
    return Receipt(
        counts.received,
        counts.stored,
        counts.duplicate,
        counts.rejected,
        counts.suppressed,
        counts.filtered,
        list(items),
    )


def refuse(
    raw: RawItem, rejected: Rejected, *, source: str, received: Millis, position: int, dialect: str
) -> DeadLetter:
    """The dead letter of an item that cannot be stored, holding its bytes as they came."""
    if isinstance(raw, dict | Event):
        try:
            data = msgspec.json.encode(raw)
        except (TypeError, ValueError, OverflowError, RecursionError):
            data = repr(type(raw)).encode()
    else:
        data = bytes(raw)
    return letter(data, rejected, source=source, received=received, position=position, dialect=dialect)


def tally(source: str, items: Sequence[Verdict]) -> Tally:
    return verdicts.tally(source, [item.verdict for item in items])


def shared(admissions: Sequence[Admission]) -> Iterator[Sequence[Admission]]:
    """Admissions in the commit groups that they share, in order. The tallies of a group become one, which its
    last admission holds: a group is on disk as a whole or not at all, so the sums still agree."""
    if len(admissions) == 1:
        yield admissions
        return
    group: list[Admission] = []
    size = 0
    for admission in admissions:
        group.append(admission)
        size += len(admission.verdicts)
        if size >= SHARED:
            yield _with_one_tally(group)
            group, size = [], 0
    if group:
        yield _with_one_tally(group)


def _with_one_tally(group: list[Admission]) -> list[Admission]:
    if len(group) > 1:
        tallies: list[Tally] = []
        for admission in group:
            last = admission.entries[-1] if admission.entries else None
            if type(last) is Tally:
                admission.entries.pop()
                tallies.append(last)
        group[-1].entries.extend(summed(tallies))
    return group
