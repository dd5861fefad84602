"""What was said about consent under one identifier, and when: a fold whose latest word stands."""

from __future__ import annotations

import msgspec

from opportune.clock import Millis
from opportune.events.consent import Statement
from opportune.events.event import Event
from opportune.events.rights import RESERVED

MAX_KEPT = 128
"""Categories kept; beyond it those with the largest names go, whatever the order of arrival. Restrictions and
objections never go."""


class Choice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The latest word on one category and the event that is its evidence. ``any_of``: said under a strategy
    by which a yes to another category of the same purpose outweighs this no."""

    allowed: bool
    time: Millis
    message_id: str
    source: str
    any_of: bool = False

    def later_than(self, other: Choice) -> bool:
        """By event time; at the same instant no is later than yes, then by message id."""
        return (self.time, not self.allowed, self.message_id, self.source, not self.any_of) > (
            other.time, not other.allowed, other.message_id, other.source, not other.any_of
        )  # fmt: skip


class Consent(msgspec.Struct, array_like=True):
    """Under one identifier: ``choices`` by category, and where the person was last, with the time of it."""

    choices: dict[str, Choice] = {}
    jurisdiction: str = ""
    located: Millis = 0

    def fold(self, event: Event, statement: Statement) -> None:
        """Take in what an event says; no order of arrival changes the result."""
        for category, allowed in statement.choices.items():
            is_any = category in statement.any_of
            choice = Choice(allowed, event.time, event.message_id, event.source, is_any)
            known = self.choices.get(category)
            if known is None or choice.later_than(known):
                self.choices[category] = choice
        where = statement.jurisdiction
        if where and (event.time, where) > (self.located, self.jurisdiction):
            self.jurisdiction, self.located = where, event.time
        while len(self.choices) > MAX_KEPT:
            del self.choices[max(c for c in self.choices if not c.startswith(RESERVED))]
