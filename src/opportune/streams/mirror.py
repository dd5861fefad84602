"""The ``derive`` role: an engine on one machine whose journal follows the cluster's, for everything that asks
about the whole: console, reports, dead letters, accounting, explanations, tables.

It is the engine of one machine, unchanged, so all that reads it works. It takes what the workers accepted, in
the order in which the gateways received it, each entry once; it accepts no events and decides nothing.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from opportune.decide.request import DecideRequest, DecisionRecord
from opportune.engine.admission import SHARED, Admission
from opportune.engine.engine import Engine
from opportune.engine.entries import Entry
from opportune.engine.erasing import Erasing
from opportune.errors import NotFound
from opportune.events.dedupe import digest
from opportune.events.event import Event, Identifier
from opportune.identity.components import Component
from opportune.privacy.order import Order
from opportune.streams.carrying import Carrying
from opportune.streams.config import ClusterConfig
from opportune.streams.engine import NotHere
from opportune.streams.erasing import ClusterErasing, ClusterRights, send, stone_of
from opportune.streams.log import KafkaLog
from opportune.streams.model_shelf import ModelShelf
from opportune.streams.positions import Positions
from opportune.streams.tail import Tail
from opportune.streams.topics import Topics

DECISIONS_KNOWN = 200_000
"""The newest decisions can be looked up by their id."""


class Mirror(Engine):
    """:meth:`follow` once after :meth:`Engine.open`; :meth:`maintain` keeps it up."""

    _replaying = False

    def follow(self, config: ClusterConfig, topics: Topics, folder: Path) -> None:
        """Go on where the journal ends. Raises :class:`Corrupt` when ``folder`` followed another journal."""
        self._positions = Positions(folder)
        self.shelf = ModelShelf(config, topics, folder, lambda: self.state.catalog, self.clock)
        self._followed = (topics.journal, topics.items, topics.account)
        start = self._positions.reached(self.journal.next_seq)
        self.tail = Tail(config, self._followed, start=start)
        self.log = KafkaLog(config, topics)
        self.rights = ClusterRights(self)
        self._carrying = Carrying()
        self._decided: OrderedDict[str, int] = OrderedDict()
        recent = max(self.journal.first_seq, self.journal.next_seq - DECISIONS_KNOWN)
        for seq, data in self.journal.scan(recent):
            entry = self.entries.decode(data)
            if type(entry) is DecisionRecord:
                self._decided[entry.decision_id] = seq

    def take(self) -> int:
        """What has come, as one commit group; how many entries. An order to erase is carried out and not
        kept: it names people."""
        before = dict(self.tail.taken)
        found = list(islice(self.tail.entries(), SHARED))
        if not found:
            return 0
        for entry in found:
            if type(entry) is Order:
                self._carry_out(entry)
        entries = [entry for entry in found if type(entry) is not Order and not self._stays_out(entry)]
        events = [entry for entry in entries if type(entry) is Event]
        received = max((event.received for event in events), default=self.clock())
        marks = [digest(event.source, event.message_id) for event in events]
        self._positions.begin(self.journal.next_seq, len(entries), before, self.tail.taken)
        if entries:
            admission = Admission([], entries, marks, received)
            super().append((admission,))
            super().flush()
            super().apply((admission,))
            self._checkpoints.keep_up()
            self._remember(admission.first_seq, entries)
        if len(entries) < len(found):
            self._tell_neighbours(found)
        return len(found)

    def maintain(self, budget_s: float = 0.0003) -> bool:
        more = self.take() > 0
        self.shelf.step()
        more = self._carrying.step() or more
        return super().maintain(budget_s) or more

    def record(self, decision_id: str) -> DecisionRecord:
        """Raises :class:`NotFound`; only the newest are known by their id."""
        seq = self._decided.get(decision_id)
        if seq is not None:
            found = self.entries.decode(self.journal.read(seq))
            if isinstance(found, DecisionRecord):
                return found
        raise NotFound("no such decision", seen=decision_id, remedy="decision ids come with the answers")

    def _remember(self, first_seq: int, entries: Iterable[Entry]) -> None:
        for seq, entry in enumerate(entries, first_seq):
            if type(entry) is DecisionRecord:
                self._decided[entry.decision_id] = seq
        while len(self._decided) > DECISIONS_KNOWN:
            self._decided.popitem(last=False)

    # -- erasure: asked for here or at a gateway, the order goes through Kafka and comes back

    def erasing(self, identifiers: Sequence[str], *, suppress: bool = False) -> ClusterErasing:
        """An erasure of the whole cluster. Its receipt is about this folder."""
        made = ClusterErasing(self, identifiers, suppress=suppress)
        self._erasures[made.id] = made
        return made

    def fresh_component(self, identifier: Identifier) -> Component:
        """As far as the journal was followed; whoever turns out to belong to them is erased when the order
        comes back."""
        return self.component(identifier)

    def heard(self, order: Order) -> None:
        """Nothing yet: it comes back."""

    def _carry_out(self, order: Order) -> None:
        """Durable before the position behind the order is: an order that comes again is no harm."""
        if not order.erases:
            vault = self.entries.with_vault()
            marks = tuple([vault.pseudonym(name).hex() for name in order.members])
            self.entries.bury(stone_of(order, marks))
            return
        erasing = Erasing(self, order.members, suppress=order.suppress, at=order.time, erasure_id=order.id)
        erasing.begin()
        self._erasures[order.id] = erasing
        self._carrying.add(erasing)
        known = set(order.members)
        more = tuple([name for name in erasing.members if name not in known])
        if more:
            send(
                self,
                msgspec.structs.replace(order, id=secrets.token_hex(8), name=more[0], members=more),
            )

    def _stays_out(self, entry: Entry) -> bool:
        """Whether it is about somebody who was erased after it happened: it came by a partition that was
        behind, or through a door that had not heard of it."""
        if not self.entries.has_tombstones:
            return False
        if type(entry) is Event:
            return self.entries.refuses(entry)
        return type(entry) is DecisionRecord and any(
            suppressed or entry.time <= at for at, suppressed in map(self.entries.stone, entry.identifiers)
        )

    def _tell_neighbours(self, found: Iterable[Entry]) -> None:
        """Somebody else's leaf has taken in an event that also names people who were erased: it is to forget
        them again. Raises :class:`StorageError`."""
        for entry in found:
            if type(entry) is Event and len(entry.identifiers) > 1 and self._stays_out(entry):
                first, *others = entry.identifiers
                erased = tuple([name for name in others if entry.time <= self.entries.stone(name)[0]])
                if erased and entry.time > self.entries.stone(first)[0]:
                    self.log.append(Order(secrets.token_hex(8), self.clock(), first, erased))
        self.log.flush()

    # -- dead letters: what is replayed or closed here goes to Kafka, and comes back with everything else

    def replay_dead_letter(self, letter_id: str, fixed: bytes | None = None) -> Admission:
        """As :meth:`Engine.replay_dead_letter`. The letter is closed here once the entry that says so has
        come back; a second replay before then is the same event, which counts once."""
        self._replaying = True
        try:
            return super().replay_dead_letter(letter_id, fixed)
        finally:
            self._replaying = False

    def append(self, admissions: Sequence[Admission]) -> None:
        """To the topics of the cluster, as a gateway does."""
        for admission in admissions:
            for entry in admission.entries:
                self.log.append(entry)

    def flush(self) -> None:
        """Until the brokers have what was appended. Raises :class:`StorageError`."""
        self.log.flush()

    def apply(self, admissions: Sequence[Admission]) -> None:
        """Nothing yet: it comes back."""
        for admission in admissions:
            self._in_flight.difference_update(admission.marks)

    # -- what belongs to others

    def admit(self, raw_items: Sequence[Any], **about: Any) -> Admission:
        if not self._replaying:
            raise NotHere("this process follows and accepts nothing", seen="derive", remedy="ask a gateway")
        return super().admit(raw_items, **about)

    def decide(self, request: DecideRequest | dict[str, Any]) -> NoReturn:
        raise NotHere(
            "this process follows and decides nothing", seen="derive", remedy="ask a decide replica"
        )

    def relink(self, *about: Any, **more: Any) -> NoReturn:
        raise NotHere(
            "this process follows and corrects nothing",
            seen="derive",
            remedy="post identity_linked or identity_unlinked to a gateway, with the secret key",
        )

    # -- life

    def ready(self) -> dict[str, Any]:
        return {**super().ready(), "roles": ["derive"], "followed": self.tail.read, "behind": self.tail.held}

    def gauges(self) -> dict[str, float]:
        return {
            **super().gauges(),
            "journal_tail_entries": float(self.tail.read),
            "journal_tail_behind_entries": float(self.tail.held),
        }

    def close(self) -> None:
        try:
            self.shelf.close()
            self._carrying.close()
            self.log.flush()
            self.tail.close()
        finally:
            super().close()
