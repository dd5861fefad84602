"""All state that is folded from the journal, and the one place that folds an entry into it.

Keyed records (leaves, features of items and sessions, outcomes of decisions) carry the sequence number of the
last entry folded into them; an entry that a record already has is skipped, so a checkpoint may be taken while
entries keep coming. Whole states (catalogue, interactions, de-duplication, accounting, dead letters) are
snapshotted at the checkpoint's own sequence number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from opportune.catalog.items import Catalog
from opportune.decide.attribution import DecisionOutcomes, outcomes_of
from opportune.decide.request import DecisionRecord
from opportune.engine import keys
from opportune.engine.entries import Entry
from opportune.engine.models import Models
from opportune.events.accounting import Accounting
from opportune.events.consent import NOTHING, Statement, statement_of
from opportune.events.dead_letters import DeadLetters
from opportune.events.dedupe import Dedupe
from opportune.events.ecommerce import INTERACTION
from opportune.events.event import DeadLetter, Event, Line, Resolved, Tally
from opportune.experiments.bandits.running import Bandits
from opportune.experiments.switch import Switch, Switches
from opportune.identity.links import LINK_EVENTS, Evidence
from opportune.identity.remembered import Components
from opportune.identity.reviews import Reviews
from opportune.identity.rules import IdentityRules
from opportune.privacy.sealing import Erased
from opportune.profiles.consent.policy import Use
from opportune.profiles.consent.record import Consent
from opportune.profiles.leaf import Leaf
from opportune.profiles.schema import ProfileSchema
from opportune.recommend.source import Kind
from opportune.stores.cache import RecordCache

RECENT = 500
"""Events and decisions kept at hand for live views, by sequence number."""

_COLLECT, _MEASURE, _TRAIN = int(Use.COLLECT), int(Use.MEASURE), int(Use.TRAIN)
"""As plain values: flags cost more to compare than most of a fold."""

KINDS: dict[str, Kind] = {"view": Kind.VIEW, "cart": Kind.CART, "buy": Kind.BUY}
KIND_OF: dict[str, Kind] = {name: KINDS[touched] for name, touched in INTERACTION.items()}
"""Canonical event name -> what its lines are to the models."""


class State:
    """Everything learnt. Only :meth:`fold` changes it, on one thread, in journal order."""

    def __init__(
        self,
        records: RecordCache,
        schemas: dict[str, ProfileSchema],
        *,
        catalog: Catalog,
        models: Models,
        dedupe: Dedupe,
        accounting: Accounting,
        dead_letters: DeadLetters,
        rules: IdentityRules,
        switches: Switches,
        reviews: Reviews,
        bandits: Bandits,
    ) -> None:
        self.records = records
        self.person = schemas["person"]
        self.item = schemas["item"]
        self.session = schemas["session"]
        self.catalog = catalog
        self.models = models
        self.dedupe = dedupe
        self.accounting = accounting
        self.dead_letters = dead_letters
        self.switches = switches
        self.reviews = reviews
        self.rules = rules
        self._expires = bool(rules.expires)
        self.bandits = bandits
        self.recent_events: deque[int] = deque(maxlen=RECENT)
        self.recent_decisions: deque[int] = deque(maxlen=RECENT)
        self.next_seq = 1
        self.components = Components(self.links_of, rules)

    def fold(self, seq: int, entry: Entry | Erased) -> None:
        """Fold one entry; entries come in order, each once (or again, after a checkpoint is loaded)."""
        if type(entry) is Event:
            self._event(seq, entry)
        elif type(entry) is DecisionRecord:
            self._decision(seq, entry)
        elif type(entry) is Tally:
            self.accounting.fold(entry, seq)
        elif type(entry) is DeadLetter or type(entry) is Resolved:
            self.dead_letters.fold(entry, seq)
        elif type(entry) is Switch:
            self.switches.fold(entry, seq)
        elif type(entry) is Erased and entry.kind == "x":
            self.dead_letters.offset = max(seq, self.dead_letters.offset)
        self.next_seq = seq + 1

    def recall(self, seq: int, entry: Entry | Erased) -> None:
        """Only remember that the entry is recent; it was folded long ago."""
        if type(entry) is Event:
            self.recent_events.append(seq)
        elif type(entry) is DecisionRecord:
            self.recent_decisions.append(seq)

    def leaf(self, identifier: str) -> Leaf:
        """The leaf of an identifier, empty when it is unknown; not to be changed."""
        leaf: Leaf = self.records.get(keys.LEAF + identifier)
        return leaf

    def links_of(self, identifier: str) -> Mapping[str, Evidence]:
        """What is known of an identifier's links to others."""
        return self.leaf(identifier).links

    def _event(self, seq: int, event: Event) -> None:
        self.recent_events.append(seq)
        said = statement_of(event)
        if said is not NOTHING:
            self._consent(seq, event, said)
        if event.withheld & _COLLECT:
            return
        if event.lines or event.decision_id:
            self.learn(seq, event)
        identifiers = event.identifiers
        if not identifiers:
            return
        records = self.records
        name = identifiers[0]
        leaf = records.touch(keys.LEAF + name)
        # An entry that a record has already, from before a restart, may still be news to the reviews.
        looks_again = seq <= leaf.offset and len(identifiers) > 1
        if seq > leaf.offset and self.person.fold(leaf, event, seq):
            self.components.forget(name)
        if leaf.slot < 0:
            leaf.slot = event.slot
        for other in identifiers[1:]:
            end = records.touch(keys.LEAF + other)
            if seq <= end.offset:
                looks_again = True
            elif self.person.fold_link(end, event, other, seq):
                self.components.forget(other)
                looks_again = True
        if self._expires and len(identifiers) > 1:
            for name in identifiers:  # evidence that came again may let other links expire
                self.components.forget(name)
        if looks_again:
            self._review(seq, event)
        session = event.session_id
        if session and self.session.features:
            record = records.touch(f"{keys.SESSION}{name}|{session}")
            if seq > record.offset:
                self.session.fold(record, event, seq)

    def learn(self, seq: int, event: Event) -> None:
        """What an event teaches everybody: items, models, outcomes of decisions. No person's leaf is read or
        changed, so a process that keeps none can learn too."""
        lines = event.lines
        if lines:
            changed = self.catalog.apply(event, seq)
            if changed:
                self.models.describe(changed)
        if not event.identifiers:
            return
        records = self.records
        if lines:
            kind = KIND_OF.get(event.name)
            if kind is not None and not event.withheld & _TRAIN:
                for line in lines:
                    number = self.catalog.number(line.item_id)
                    if number >= 0:
                        self.models.touch(event.identifiers[0], number, kind, event.time, event.session_id)
            if self.item.concerns(event.name) and not event.withheld & _MEASURE:
                for item_id, own in _by_item(lines):
                    record = records.touch(keys.ITEM + item_id)
                    if seq > record.offset:
                        self.item.fold(record, event, seq, own)
        if event.decision_id and not event.withheld & _MEASURE:
            outcomes: DecisionOutcomes = records.touch(keys.OUTCOMES + event.decision_id)
            if seq > outcomes.offset:
                outcomes.fold(event, seq)
            if self.bandits.running and not event.withheld & _TRAIN:
                came = [(outcome.kind, outcome.item_id) for outcome in outcomes_of(event)]
                if came:
                    self.bandits.outcome(seq, event.decision_id, event.time, came)

    def learn_decision(self, seq: int, record: DecisionRecord) -> None:
        """What a decision teaches everybody: how often a bandit's arms were chosen."""
        if self.bandits.running and record.assignments:
            self.bandits.decided(seq, record.decision_id, record.time, record.assignments)

    def _consent(self, seq: int, event: Event, said: Statement) -> None:
        """Remember what the event says about consent under each identifier that it names. An event that may
        not be kept has nothing else to fold."""
        for name in event.identifiers:
            leaf = self.records.touch(keys.LEAF + name)
            if seq > leaf.offset:
                if leaf.consent is None:
                    leaf.consent = Consent(choices={})
                leaf.consent.fold(event, said)
                if leaf.slot < 0 and name == event.identifiers[0]:
                    leaf.slot = event.slot
                if event.withheld & _COLLECT:
                    leaf.offset = seq

    def _review(self, seq: int, event: Event) -> None:
        """Somebody's links changed (or may have, before the checkpoint that holds the leaf): look whether a
        guard refuses one of them."""
        if event.name in LINK_EVENTS:
            self.reviews.correct(event, seq)
        for name in event.identifiers:
            self.reviews.look(name, event.time, self.links_of, self.rules)

    def _decision(self, seq: int, record: DecisionRecord) -> None:
        self.recent_decisions.append(seq)
        self.learn_decision(seq, record)
        if record.identifiers:
            leaf = self.records.touch(keys.LEAF + record.identifiers[0])
            if leaf.slot < 0:
                leaf.slot = record.slot
            if seq > leaf.offset:
                self.person.fold_decision(
                    leaf,
                    record.decision_id,
                    record.placement,
                    record.time,
                    record.candidates[: record.shown],
                    seq,
                )
                for assignment in record.assignments:
                    if assignment.key:
                        self.person.fold_exposure(leaf, assignment.key, assignment.arm, record.time)


def _by_item(lines: tuple[Line, ...]) -> Iterable[tuple[str, Sequence[Line]]]:
    """The lines of each item that an event is about, in order of first mention."""
    if len(lines) == 1:
        return ((lines[0].item_id, lines),)
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.item_id, []).append(line)
    return found.items()
