"""What became of each item of a request: the answer of the tracking endpoints, and a request's tally."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from opportune.events.event import Tally
from opportune.events.rejected import Rejected

Outcome = Literal["stored", "duplicate", "rejected", "suppressed", "filtered"]

STORED: Final = "stored"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected"
SUPPRESSED: Final = "suppressed"
FILTERED: Final = "filtered"

SUCCESS: Final = b'{"success":true}'
"""The answer that every tracking client expects."""


class Verdict(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """One item's end: ``index`` in its request, and for a rejected one the reason, its code, the path within
    the item (``where``) and the dead letter that keeps it. ``warnings`` are the tracking plan's."""

    index: int
    message_id: str | None
    verdict: Outcome
    code: str = ""
    reason: str = ""
    where: str = ""
    letter_id: str = ""
    warnings: list[str] = []


def refused(index: int, rejected: Rejected, *, message_id: str | None = None, letter_id: str = "") -> Verdict:
    """The verdict on an item that :func:`opportune.events.segment.normalize` or the plan refused."""
    return Verdict(
        index, message_id, REJECTED, rejected.code, rejected.reason, rejected.where, letter_id=letter_id
    )


def answer(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """``{"success": true, "verdicts": [...]}``; success means that everything is accounted for."""
    return {"success": True, "verdicts": [msgspec.to_builtins(verdict) for verdict in verdicts]}


def tally(source: str, outcomes: Iterable[Outcome]) -> Tally:
    """One request's counts; balanced by construction."""
    ends: list[str] = list(outcomes)
    return Tally(source, len(ends), *map(ends.count, (STORED, DUPLICATE, REJECTED, SUPPRESSED, FILTERED)))
