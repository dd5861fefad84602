"""How long what is about people is kept, by event name and by trait; what of an event outlives its time.

Who somebody is, what they allowed and which rights they exercised never expires with an event: of an event
that is the only evidence of a link, or the last word on consent, just that is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from opportune.clock import DAY, HOUR, Millis
from opportune.events.consent import SIGNALS, UPDATE_EVENTS
from opportune.events.event import Event
from opportune.events.rights import RECTIFIED, RIGHTS_EVENTS
from opportune.identity.links import LINK_EVENTS

Keep = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,4}[hd]$")]
OTHERS = "*"
EXPIRED = "expired_event"
"""The name of what is left of an event: a note that nothing counts."""
EVIDENCE = frozenset((*LINK_EVENTS, *RIGHTS_EVENTS, *UPDATE_EVENTS, EXPIRED))
"""Names of events that are kept as long as the person is known."""
_PLACES = ("jurisdiction", "location")
_SPAN = re.compile(r"(\d+)([hd])\Z")


class RetentionRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``events``: canonical event name -> how long (``90d``, ``12h``), ``"*"`` for all others; ``traits``
    likewise; ``decisions`` are records of what was shown, ``dead_letters`` what could not be stored. What is
    not named is kept. A server looks once a day, at ``hour`` (UTC)."""

    events: Mapping[str, Keep] = {}
    traits: Mapping[str, Keep] = {}
    decisions: Keep | None = None
    dead_letters: Keep | None = None
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 3

    def __bool__(self) -> bool:
        return bool(self.events or self.traits or self.decisions or self.dead_letters)


class Retention:
    """The rules as of one moment."""

    def __init__(self, rules: RetentionRules, now: Millis) -> None:
        self._events = {name: now - span_ms(text) for name, text in rules.events.items()}
        self._traits = {name: now - span_ms(text) for name, text in rules.traits.items()}
        self._others = self._events.get(OTHERS)
        self._decisions = None if rules.decisions is None else now - span_ms(rules.decisions)
        self._letters = None if rules.dead_letters is None else now - span_ms(rules.dead_letters)

    def event(self, event: Event) -> bool:
        """Whether an event is past its time. Events about items, and evidence, never are."""
        if event.name in EVIDENCE or not event.identifiers:
            return False
        before = self._events.get(event.name, self._others)
        return before is not None and _happened(event) < before

    def traits(self, event: Event) -> list[str]:
        """The traits that an event says and that are past their time."""
        if not self._traits or not event.identifiers:
            return []
        names = [event.properties.get("trait")] if event.name == RECTIFIED else list(event.traits)
        return [n for n in names if n in self._traits and _happened(event) < self._traits[n]]

    def decision(self, time: Millis) -> bool:
        return self._decisions is not None and time < self._decisions

    def letter(self, received: Millis) -> bool:
        return self._letters is not None and received < self._letters


def span_ms(text: str) -> Millis:
    """
    >>> span_ms("90d") == 90 * 24 * 3_600_000
    True
    """
    found = _SPAN.match(text)
    assert found is not None, text
    return int(found[1]) * (DAY if found[2] == "d" else HOUR)


def residue(event: Event, *, with_consent: bool) -> Event:
    """What is left of an event that was evidence: who was named, and with ``with_consent`` what it said of
    consent."""
    kept: dict[str, Any] = {}
    if with_consent:
        kept = {name: event.context[name] for name in (*SIGNALS, *_PLACES) if name in event.context}
    return Event(
        event.kind, EXPIRED, event.message_id, event.source, event.time, event.received, event.identifiers,
        context=kept, withheld=event.withheld, slot=event.slot,
    )  # fmt: skip


def _happened(event: Event) -> Millis:
    return min(event.time, event.received)
