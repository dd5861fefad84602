"""What waits for a person to decide: links that a guard refused; and what was decided by hand.

A fold of the journal. Which links are suspicious is noted when they come; whether they still are is asked of
the links as they stand, so an entry that was settled in the meantime is not shown, and nothing has to be
taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events.event import Event, Identifier
from opportune.identity.components import CROWDED, LIMIT, LinksOf, resolve
from opportune.identity.links import LINK_EVENTS, Link, ordered
from opportune.identity.rules import IdentityRules

MOST_SUSPECTS = 2_000
"""Suspicious links that are remembered; of more the newest stay."""
MOST_CORRECTIONS = 500


class Correction(msgspec.Struct, frozen=True, array_like=True):
    """Two identifiers joined or taken apart by hand: ``action`` is ``linked``, ``confirmed`` or
    ``unlinked``; ``who`` did it, and ``why`` is a sentence for people."""

    seq: int
    time: Millis
    action: str
    a: Identifier
    b: Identifier
    who: str
    why: str


class Review(msgspec.Struct, frozen=True):
    """One link in quarantine: why a guard refused it, its evidence, and both sides as they stand."""

    link: Link
    reason: str
    noticed: Millis
    a_members: tuple[Identifier, ...]
    b_members: tuple[Identifier, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, for the list and the page."""
        return {
            **self.link.to_dict(),
            "reason": self.reason,
            "noticed": self.noticed,
            "a_members": list(self.a_members),
            "b_members": list(self.b_members),
        }


class Reviews(msgspec.Struct, array_like=True):
    """``suspects``: the stronger identifier -> the other -> when it was noticed. ``corrections``: oldest
    first."""

    suspects: dict[Identifier, dict[Identifier, Millis]] = {}
    corrections: list[Correction] = []
    offset: int = 0

    def correct(self, event: Event, seq: int) -> None:
        """Remember what was said by hand. ``event`` is one of :data:`LINK_EVENTS`."""
        if seq <= self.offset or len(event.identifiers) < 2:
            return
        self.offset = seq
        a, b = ordered(event.identifiers[0], event.identifiers[1])
        said = event.properties
        self.corrections.append(
            Correction(
                seq,
                event.time,
                LINK_EVENTS[event.name],
                a,
                b,
                str(said.get("who", event.source)),
                str(said.get("why", "")),
            )
        )
        del self.corrections[:-MOST_CORRECTIONS]

    def forget(self, names: Collection[Identifier]) -> None:
        """Nothing here names these identifiers any more."""
        for name in names:
            self.suspects.pop(name, None)
        for a, others in list(self.suspects.items()):
            for name in names:
                others.pop(name, None)
            if not others:
                del self.suspects[a]
        self.corrections = [one for one in self.corrections if one.a not in names and one.b not in names]

    def look(self, identifier: Identifier, time: Millis, links_of: LinksOf, rules: IdentityRules) -> None:
        """Note what a guard refuses around an identifier whose links have changed. Costs one ``resolve``,
        and nothing for who has one link only, to something of another type."""
        links = links_of(identifier)
        kind = identifier.partition(":")[0]
        if len(links) < 2 and all(other.partition(":")[0] != kind for other in links):
            return
        for link, reason in resolve(identifier, links_of, rules).refused:
            if reason.startswith((LIMIT, CROWDED)):
                self.suspects.setdefault(link.a, {}).setdefault(link.b, time)
        if len(self.suspects) > MOST_SUSPECTS:
            oldest = min(self.suspects, key=lambda one: (max(self.suspects[one].values()), one))
            del self.suspects[oldest]

    def pending(self, links_of: LinksOf, rules: IdentityRules) -> Iterator[Review]:
        """Links that are still refused, newest first. Of a crowd, which is refused as a whole, one link
        stands for all: reading stops where the caller does, 20 us for each."""
        noticed = [(when, a, b) for a, others in self.suspects.items() for b, when in others.items()]
        crowds: set[str] = set()
        for when, a, b in sorted(noticed, reverse=True):
            component = resolve(a, links_of, rules)
            for link, reason in component.refused:
                if (link.a, link.b) != (a, b) or not reason.startswith((LIMIT, CROWDED)):
                    continue
                if reason.startswith(CROWDED):
                    if reason in crowds:
                        continue
                    crowds.add(reason)
                others = resolve(b, links_of, rules).identifiers
                yield Review(link, reason, when, component.identifiers, others)
