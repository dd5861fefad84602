"""Whether this person may be personalized at this placement, and on what basis."""

from __future__ import annotations

from typing import Literal

import msgspec

from opportune.decide.placement import Placement
from opportune.decide.world import PersonView, Refused


class Eligibility(msgspec.Struct, frozen=True):
    """``shown`` false leaves the slot empty; ``consent`` says what the decision may rest on."""

    shown: bool
    consent: Literal["personal", "contextual"]
    why: str = ""


def eligible(placement: Placement, person: PersonView) -> Eligibility:
    """Every person is eligible for every placement that is switched on; who refuses personalization gets an
    answer that rests on the page alone."""
    consent: Literal["personal", "contextual"] = "contextual" if isinstance(person, Refused) else "personal"
    if not placement.enabled:
        return Eligibility(shown=False, consent=consent, why="the placement is switched off")
    return Eligibility(shown=True, consent=consent)
