"""Two people who are likely one: for a person to decide, never joined by themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from opportune.events.event import Identifier


class Proposal(msgspec.Struct, frozen=True):
    """Two people who may be one, by their ids. ``weight`` in bits, 0 as likely as not; ``steps`` is the
    waterfall: what each column adds or takes."""

    a: Identifier
    b: Identifier
    weight: float
    probability: float
    steps: list[dict[str, Any]]
