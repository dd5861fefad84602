"""The first verb: what comes in is admitted, appended, flushed and folded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import reduce
from typing import Any

from opportune.clock import Millis
from opportune.decide.attribution import attribute
from opportune.decide.placement import SOURCES
from opportune.decide.variants import Variants
from opportune.engine.admission import Admission, RawItem, Receipt, receipt, refuse, shared, tally
from opportune.engine.anonymous_desk import AnonymousDesk
from opportune.engine.collector import collector_paused
from opportune.engine.entries import Entry
from opportune.engine.queries import Queries
from opportune.errors import InvalidRequest
from opportune.events import cloudevents, verdicts
from opportune.events.dedupe import digest
from opportune.events.ecommerce import INTERACTION
from opportune.events.event import Event
from opportune.events.items import item_event
from opportune.events.plan import EMPTY
from opportune.events.rejected import NOT_ALLOWED, Rejected
from opportune.events.rights import RIGHTS_EVENTS
from opportune.events.salvage import is_writable, tidied
from opportune.events.segment import normalize
from opportune.events.verdicts import Verdict
from opportune.events.wire import MAX_DEPTH
from opportune.experiments.switch import Switch
from opportune.identity.groups import stamp
from opportune.identity.links import LINK_EVENTS
from opportune.profiles.intents.reader import IntentReader
from opportune.profiles.leaf import MAX_EXPOSURES, Exposure
from opportune.profiles.recent import merge_last

ATTRIBUTION_WINDOW: Millis = 24 * 3_600_000
"""How long a shown item may be acted on and still count as the decision's outcome by last touch."""

_NOT_PUBLIC = frozenset((*LINK_EVENTS, *RIGHTS_EVENTS))

ERASED = "it is about somebody who was erased, or is not to be recorded"

INGEST_CHUNK = 4_096
"""Items per commit group of the library's ``ingest``; bounds memory, not the number of items."""


class Intake(Queries):
    """The half of the engine that takes in. :meth:`ingest` is made of the steps :meth:`admit`,
    :meth:`append`, :meth:`flush` and :meth:`apply`; only ``flush`` may run on another thread."""

    anonymous: AnonymousDesk
    _intents: IntentReader | None
    _in_flight: set[bytes]
    """Digests of what was admitted and is not folded yet."""
    _unapplied: deque[Admission]

    def ingest(
        self, items: Sequence[RawItem] | RawItem, *, source: str = "library", dialect: str = "segment"
    ) -> Receipt:
        """Store events: durable, folded and visible to the next decision when it returns.

        ``items`` are events as dicts, JSON bytes or :class:`Event`; ``dialect="catalog"`` takes items of the
        catalogue instead. What cannot be stored is in the dead letters, with its reason in the receipt.
        """
        many: Sequence[RawItem] = items if isinstance(items, list | tuple) else [items]  # type: ignore[list-item]  # a Sequence of items that is no list or tuple is bytes: one item
        found: list[Verdict] = []
        for start in range(0, len(many), INGEST_CHUNK):
            with collector_paused():
                admission = self.admit(
                    many[start : start + INGEST_CHUNK],
                    kind=None,
                    dialect=dialect,
                    source=source,
                    received=self.clock(),
                    position=start,
                )
                self.commit(admission)
            found += admission.verdicts
        return receipt(found)

    def commit(self, admission: Admission) -> None:
        """Append, flush, apply: one admission, all the way."""
        self.append((admission,))
        self.flush()
        self.apply((admission,))
        self._checkpoints.keep_up()

    # -- its steps

    def admit(
        self,
        raw_items: Sequence[RawItem],
        *,
        kind: str | None,
        dialect: str,
        source: str,
        received: Millis,
        sent_at: Millis | None = None,
        batch_context: dict[str, Any] | None = None,
        position: int = 0,
        is_public: bool = False,
    ) -> Admission:
        """Normalise, check, de-duplicate and stamp; every item gets its verdict. Never raises for an item.

        ``position`` is the index of the first item in its request: a large one is admitted in pieces.
        ``is_public`` events come from anybody (a page's key): people are not joined or taken apart by hand
        on their word.
        """
        found: list[Verdict] = []
        kept: list[Entry] = []
        marks: list[bytes] = []
        dedupe, in_flight, plan = self.state.dedupe, self._in_flight, self.workspace.plan
        gate, anonymous = self.consent, self.anonymous
        has_plan = plan is not EMPTY
        refuses = self.entries.refuses if self.entries.has_tombstones else None
        is_segment = dialect == "segment"
        household = self.workspace.identity.household
        for index, raw in enumerate(raw_items, position):
            try:
                if is_segment and type(raw) is not Event:
                    event = normalize(
                        raw,  # type: ignore[arg-type]  # an Event was sorted out above
                        kind=kind,
                        source=source,
                        received=received,
                        sent_at=sent_at,
                        batch_context=batch_context,
                        position=index,
                    )
                else:
                    event = _other(raw, dialect, source, received)
                if is_public and event.name in _NOT_PUBLIC:
                    raise Rejected(
                        NOT_ALLOWED,
                        "only the secret key joins people by hand"
                        if event.name in LINK_EVENTS
                        else "only the secret key says what a person's rights are",
                        "$.event",
                        seen=event.name,
                    )
                noted = [f"{v.path}: {v.message}" for v in plan.admit(event)] if has_plan else None
            except Rejected as rejected:
                letter = refuse(
                    raw, rejected, source=source, received=received, position=index, dialect=dialect
                )
                kept.append(letter)
                found.append(verdicts.refused(index, rejected, letter_id=letter.letter_id))
                continue
            mark = digest(source, event.message_id)
            if mark in in_flight or dedupe.seen_digest(mark):
                found.append(Verdict(index, event.message_id, verdicts.DUPLICATE))
                continue
            if refuses is not None and refuses(event):
                found.append(Verdict(index, event.message_id, verdicts.SUPPRESSED, warnings=[ERASED]))
                continue
            allowed, kept_event, told = gate.admit(event)
            if told:
                noted = [*(noted or ()), *told]
            if not allowed:
                found.append(Verdict(index, event.message_id, verdicts.SUPPRESSED, warnings=noted or []))
                if anonymous.is_on:
                    anonymous.count(event)
                if kept_event is not None:
                    in_flight.add(mark)
                    marks.append(mark)
                    kept.append(kept_event)
                continue
            if household:
                stamp(event, household)
            in_flight.add(mark)
            marks.append(mark)
            if event.lines:
                self._stamp(event)
            if self._intents is not None:
                self._intents.stamp(event)
            kept.append(event)
            verdict = Verdict(index, event.message_id, verdicts.STORED)
            if noted:
                verdict.warnings = noted
            found.append(verdict)
        if found:
            kept.append(tally(source, found))
        return Admission(found, kept, marks, received)

    def append(self, admissions: Sequence[Admission]) -> None:
        """Encode into the journal's buffer. Small admissions share a commit group and a tally, which is what
        makes a single post cheap where many arrive."""
        for group in shared(admissions):
            encoded = [
                data
                for admission in group
                for data in self.entries.encode_all(admission.entries, admission.marks)
            ]
            seq = self.journal.append(encoded)
            for admission in group:
                admission.first_seq = seq
                seq += len(admission.entries)
            self._unapplied.extend(group)

    def flush(self) -> None:
        """Make everything that was appended before this call durable: one write, one ``fdatasync``."""
        self.journal.flush()

    def apply(self, admissions: Sequence[Admission]) -> None:
        """Fold what is on disk now, in journal order."""
        for admission in admissions:
            admission.is_durable = True
        self._drain()

    def _drain(self) -> None:
        unapplied, fold = self._unapplied, self.state.fold
        in_flight, dedupe = self._in_flight, self.state.dedupe
        while unapplied and unapplied[0].is_durable:
            admission = unapplied.popleft()
            seq = admission.first_seq
            for entry in admission.entries:
                fold(seq, entry)
                seq += 1
                if type(entry) is Switch:
                    self._world.variants = self._variants()
            if admission.marks:
                dedupe.add_new(admission.marks, admission.received)
                in_flight.difference_update(admission.marks)
        if not unapplied:
            self.consent.folded()
            self.entries.folded()
        self.state.models.learn_if_many()

    def _stamp(self, event: Event) -> None:
        """Put onto the event what only today's state knows: what the catalogue says of its items, and the
        decision that it is an outcome of. 1 us."""
        if event.kind == "item":
            return
        described = self.state.catalog.described
        for line in event.lines:
            if not (line.category and line.brand):
                event.lines = tuple([described(line) for line in event.lines])
                break
        if not event.decision_id and event.identifiers and event.name in INTERACTION:
            exposures = self._exposures(event.identifiers[0])
            if exposures:
                event.decision_id = attribute(event, exposures, ATTRIBUTION_WINDOW) or ""

    def _exposures(self, identifier: str) -> Sequence[Exposure]:
        leaf_of = self.state.leaf
        leaf = leaf_of(identifier)
        if not leaf.links:
            return leaf.exposures
        held = [e for i in self.state.components.members(identifier) if (e := leaf_of(i).exposures)]
        if len(held) < 2:
            return held[0] if held else ()
        return reduce(lambda a, b: merge_last(a, b, MAX_EXPOSURES), held)

    def _variants(self) -> Variants | None:
        """None when no experiment is declared: the stage then costs nothing."""
        experiments = self.workspace.experiments
        if not experiments:
            return None
        state = self.state
        return Variants(
            experiments, self.workspace.placements, SOURCES, state.switches.stopped, state.bandits.chooser
        )

    def settle(self) -> None:
        """Make durable and fold everything that was appended, on the folding thread."""
        self.flush()
        for admission in self._unapplied:
            admission.is_durable = True
        self._drain()


def _other(raw: RawItem, dialect: str, source: str, received: Millis) -> Event:
    """Anything but the Segment dialect."""
    if isinstance(raw, Event):
        raw.source, raw.received = source, received
        parts = (raw.properties, raw.traits, raw.context)
        if not is_writable(parts, MAX_DEPTH):
            raw.properties, raw.traits, raw.context = tidied(list(parts), MAX_DEPTH, "$")
        return raw
    if dialect == "catalog":
        return item_event(raw, source=source, received=received)
    if dialect == "cloudevents":
        return cloudevents.normalize(raw, source=source, received=received)
    raise InvalidRequest("unknown dialect", seen=dialect, remedy="segment, cloudevents or catalog")
