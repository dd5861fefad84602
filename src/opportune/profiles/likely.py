"""Somebody who is probably the same person: never joined, looked at where a use says how sure is enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from opportune.clock import Millis

if TYPE_CHECKING:
    from opportune.profiles.person import Person

CERTAIN = 1.0
"""The dial at which only certain links count."""


class Step(msgspec.Struct, frozen=True, array_like=True):
    """What one column says for (or against) the two being one, in bits. Never what stands in the column."""

    column: str
    level: str
    bits: float


class Belief(msgspec.Struct, frozen=True, array_like=True):
    """How sure it is that the two are one person, and by which evidence: what records keep of it. It names
    nobody, so that whoever is erased is in no record of another."""

    probability: float
    evidence: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "said": f"probably the same person as somebody else, p = {self.probability:.3g}",
            "probability": self.probability,
            "evidence": [msgspec.structs.asdict(step) for step in self.evidence],
        }


class Likely(msgspec.Struct, frozen=True):
    """Somebody together with who is probably the same: ``person`` is both."""

    person: Person
    belief: Belief


class Kin(Protocol):
    """Knows who is probably the same person."""

    def likely(self, person: Person, least: float) -> Likely | None: ...


class Knows(Protocol):
    """Somebody of whom may be asked who is probably the same."""

    def likely(self, least: float) -> Likely | None: ...


Dial = Callable[[float], Mapping[str, Any] | None]
"""(least probability) -> the features of somebody together with who is at least so probably the same; None
where there is nobody."""


def dial(person: Knows, now: Millis, used: Callable[[Belief], None] = lambda belief: None) -> Dial:
    """The features that a use with its own dial may look at; ``used`` is told of the link that gave them."""

    def features(least: float) -> Mapping[str, Any] | None:
        found = person.likely(least)
        if found is None:
            return None
        used(found.belief)
        return found.person.features(now)

    return features
