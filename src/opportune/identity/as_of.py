"""Who was who at a time: components by the links that had been seen by then."""

from __future__ import annotations

from collections.abc import Callable

from opportune.clock import Millis
from opportune.events.event import Identifier
from opportune.identity.components import LinksOf, resolve
from opportune.identity.rules import IdentityRules

FOREVER: Millis = 1 << 62
"""Later than everything: who is who as far as is known."""
MembersAsOf = Callable[[Identifier, Millis], tuple[Identifier, ...]]


def members_as_of(links_of: LinksOf, rules: IdentityRules) -> MembersAsOf:
    """The identifiers of the person that an identifier belonged to at a time, strongest first.

    A link holds from its earliest evidence on. What was taken apart by hand since was never together: people
    correct what had been wrong. As long as :func:`resolve` for each question.
    """

    def members(identifier: Identifier, time: Millis) -> tuple[Identifier, ...]:
        if not links_of(identifier):
            return (identifier,)
        return resolve(
            identifier,
            lambda one: {other: e for other, e in links_of(one).items() if e.time <= time},
            rules,
        ).identifiers

    return members
