"""Two people who are likely one: for a person to decide, never joined by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from opportune.events.event import Identifier


class Proposal(msgspec.Struct, frozen=True):
    """Two people who may be one, by their ids. ``weight`` in bits, 0 as likely as not; ``steps`` is the
    waterfall: what each column adds or takes. ``stamp_a`` and ``stamp_b`` are of what the two were compared
    by, so that it can be seen when that is no longer so."""

    a: Identifier
    b: Identifier
    weight: float
    probability: float
    steps: list[dict[str, Any]]
    stamp_a: str = ""
    stamp_b: str = ""


def stamp_of(row: Mapping[str, str]) -> str:
    """Changes when the row does."""
    told = "\0".join(part for item in sorted(row.items()) for part in item)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8, person=b"likely").hexdigest()
