"""Some people's state folded anew from entries of the journal: as :class:`State` folds it, and nothing else.

For when entries that were folded are to have never been: folds have no way back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opportune.decide.attribution import OUTCOMES_CODEC, DecisionOutcomes
from opportune.decide.request import DecisionRecord
from opportune.engine import keys
from opportune.engine.entries import Entry
from opportune.events.consent import NOTHING, statement_of
from opportune.events.event import Event
from opportune.privacy.sealing import Erased
from opportune.profiles.consent.policy import Use
from opportune.profiles.consent.record import Consent
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema

_COLLECT, _MEASURE = int(Use.COLLECT), int(Use.MEASURE)


class Refold:
    """Records of the keys ``wanted``, as :mod:`opportune.engine.keys` writes them. Entries come in order."""

    def __init__(self, person: ProfileSchema, session: ProfileSchema, wanted: Collection[str]) -> None:
        self._person, self._session = person, session
        self._wanted = wanted
        self.made: dict[str, Any] = {}

    def fold(self, seq: int, entry: Entry | Erased) -> None:
        if type(entry) is Event:
            self._event(seq, entry)
        elif type(entry) is DecisionRecord and entry.identifiers:
            leaf = self._leaf(entry.identifiers[0])
            if leaf is None:
                return
            if leaf.slot < 0:
                leaf.slot = entry.slot
            shown = entry.candidates[: entry.shown]
            self._person.fold_decision(leaf, entry.decision_id, entry.placement, entry.time, shown, seq)
            for assignment in entry.assignments:
                if assignment.key:
                    self._person.fold_exposure(leaf, assignment.key, assignment.arm, entry.time)

    def _event(self, seq: int, event: Event) -> None:
        said = statement_of(event)
        collected = not event.withheld & _COLLECT
        for at, name in enumerate(event.identifiers):
            leaf = self._leaf(name) if said is not NOTHING or collected else None
            if leaf is None:
                continue
            if said is not NOTHING:
                if leaf.consent is None:
                    leaf.consent = Consent(choices={})
                leaf.consent.fold(event, said)
            if at == 0 and leaf.slot < 0:
                leaf.slot = event.slot
            if not collected:
                leaf.offset = seq
            elif at == 0:
                self._person.fold(leaf, event, seq)
            else:
                self._person.fold_link(leaf, event, name, seq)
        if not collected or not event.identifiers:
            return
        if event.decision_id and not event.withheld & _MEASURE:
            outcomes = self._record(keys.OUTCOMES + event.decision_id)
            if outcomes is not None:
                outcomes.fold(event, seq)
        if event.session_id and self._session.features:
            record = self._record(f"{keys.SESSION}{event.identifiers[0]}|{event.session_id}")
            if record is not None:
                self._session.fold(record, event, seq)

    def _leaf(self, name: str) -> Leaf | None:
        leaf: Leaf | None = self._record(keys.LEAF + name)
        return leaf

    def _record(self, key: str) -> Any:
        if key not in self._wanted:
            return None
        known = self.made.get(key)
        if known is None:
            known = self.made[key] = self._zero(key)
        return known

    def _zero(self, key: str) -> Leaf | DecisionOutcomes:
        if key.startswith(keys.OUTCOMES):
            zero: DecisionOutcomes = OUTCOMES_CODEC.zero()
            return zero
        return (self._person if key.startswith(keys.LEAF) else self._session).zero()
