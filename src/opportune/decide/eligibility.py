"""Whether this person may be personalized at this placement, and on what basis."""

from __future__ import annotations

from typing import Literal

import msgspec

from opportune.decide.placement import Placement


class Eligibility(msgspec.Struct, frozen=True):
    """``shown`` false leaves the slot empty; ``consent`` says what the decision may rest on."""

    shown: bool
    consent: Literal["personal", "contextual"]
    why: str = ""


def eligible(placement: Placement) -> Eligibility:
    """Every person is eligible for every placement that is switched on."""
    if not placement.enabled:
        return Eligibility(shown=False, consent="personal", why="the placement is switched off")
    return Eligibility(shown=True, consent="personal")
