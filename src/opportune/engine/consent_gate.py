"""Consent at the door and at the decision: what may be done with a person, as of the last word received."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from opportune.engine.state import State
from opportune.events.consent import NOTHING, Statement, statement_of
from opportune.events.event import Event, Identifier
from opportune.events.rights import RIGHTS_EVENTS
from opportune.profiles.consent.policy import ConsentPolicy, Standing, Use, standing
from opportune.profiles.consent.record import Consent

NOTES_WITHHELD = int(Use.ALL & ~Use.COLLECT)
"""What a person's rights are is kept, and is nothing to measure or learn from."""


class ConsentGate:
    """Judges with what is folded and with what was admitted and is not folded yet, so that a withdrawal holds
    from the next event on, even within one batch."""

    def __init__(self, state: State, policy: ConsentPolicy) -> None:
        self._state = state
        self._policy = policy
        self._silent = standing(policy, ())
        # As plain values: flags cost more to compare than all else here.
        self._silent_withheld = int(Use.ALL & ~self._silent.allowed)
        self._silent_may_be_kept = bool(self._silent.allowed & Use.COLLECT)
        self._ahead: dict[Identifier, Consent] = {}

    def standing(self, identifiers: Iterable[Identifier], now: Statement = NOTHING) -> Standing:
        """What may be done with the person of these identifiers. ``now`` is what the request at hand says
        itself. 0.3 us for a person who never said anything."""
        records = self._records(identifiers)
        if not records and now is NOTHING:
            return self._silent
        return standing(self._policy, records, now)

    def admit(self, event: Event) -> tuple[bool, Event | None, Sequence[str]]:
        """Whether the event may be stored; what to keep of one that may not (its consent statement, if it
        makes one); and warnings. Stamps the event with the uses withheld. 1 us where nobody said anything."""
        identifiers = event.identifiers
        if not identifiers:
            return True, event, ()
        warnings: Sequence[str] = ()
        said = statement_of(event)
        if said is not NOTHING:
            self.hear(event, said)
            warnings = self._warnings(said)
        if event.name in RIGHTS_EVENTS:
            event.withheld = NOTES_WITHHELD
            return True, event, warnings
        first = identifiers[0]
        known: Iterable[Identifier]
        if not self._state.leaf(first).links:
            known = identifiers
        elif len(identifiers) == 1:
            known = self._state.components.members(first)
        else:
            known = {*self._state.components.members(first), *identifiers}
        records = self._records(known)
        if not records:
            event.withheld = self._silent_withheld
            return self._silent_may_be_kept, event if self._silent_may_be_kept else None, warnings
        now = standing(self._policy, records)
        event.withheld = int(Use.ALL & ~now.allowed)
        if now.allowed & Use.COLLECT:
            return True, event, warnings
        return False, stripped(event) if said.choices else None, warnings

    def folded(self) -> None:
        """Everything admitted is folded: state knows it all."""
        self._ahead.clear()

    def _records(self, identifiers: Iterable[Identifier]) -> list[Consent]:
        leaf, ahead = self._state.leaf, self._ahead
        if ahead:
            return [c for i in identifiers if (c := ahead.get(i) or leaf(i).consent) is not None]
        return [c for i in identifiers if (c := leaf(i).consent) is not None]

    def hear(self, event: Event, said: Statement) -> None:
        """What was said holds from now on, although it is not folded yet."""
        for name in event.identifiers:
            known = self._ahead.get(name) or self._state.leaf(name).consent
            consent = Consent(choices={}) if known is None else msgspec.structs.replace(known)
            consent.choices = dict(consent.choices)
            consent.fold(event, said)
            self._ahead[name] = consent

    def _warnings(self, said: Statement) -> list[str]:
        unknown = [c for c in said.choices if not self._policy.knows(c) and not c.startswith("tcf:")]
        return [
            *(f"$.context: {problem}" for problem in said.problems),
            *(f"no purpose in consent.yaml goes by {c!r}: kept as said, decides nothing" for c in unknown),
        ]


def stripped(event: Event) -> Event:
    """What is kept of an event that may not be stored: that consent was given or withdrawn, by whom, when."""
    said = statement_of(event)
    context: dict[str, object] = {"consent": {"categoryPreferences": dict(said.choices)}}
    if said.jurisdiction:
        context["jurisdiction"] = said.jurisdiction
    return Event(
        event.kind, "consent_updated" if event.kind == "track" else event.kind,
        event.message_id, event.source, event.time, event.received, event.identifiers,
        context=context, withheld=event.withheld,
    )  # fmt: skip
