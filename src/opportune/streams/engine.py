"""The engine as a stateless replica: a door onto Kafka, and decisions over the serving copy.

The admission and the decision are those of :class:`Engine`, unchanged. What differs is where entries go
(Kafka, not a file), where leaves come from (Redis, not memory), and that nothing here folds a person: items
and models are learnt by following the journal topic.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import msgspec

from opportune.clock import Clock, system_clock
from opportune.decide.request import DecideRequest, DecideResponse, DecisionRecord
from opportune.decide.world import new_decision_id
from opportune.engine import keys
from opportune.engine.admission import Admission, RawItem
from opportune.engine.engine import LOOK_FOR_RANKER, Engine, request_of
from opportune.engine.entries import Entry
from opportune.engine.groups import groups_of
from opportune.engine.live_models import LiveVersions
from opportune.engine.loading import codecs
from opportune.engine.served import Served
from opportune.engine.workspace import Workspace
from opportune.errors import NotFound, OpportuneError, StorageError
from opportune.events.event import DeadLetter, Event, Identifier
from opportune.events.identifiers import from_mapping, parse
from opportune.experiments.switch import Switch
from opportune.identity.components import Component
from opportune.privacy.order import Order
from opportune.stores.disk import RealDisk
from opportune.streams.artifacts import Artifacts
from opportune.streams.config import ClusterConfig
from opportune.streams.door import Door
from opportune.streams.erasing import ClusterErasing, ClusterRights
from opportune.streams.lag import LagWatch
from opportune.streams.log import KafkaLog
from opportune.streams.model_feed import ModelFeed
from opportune.streams.serving_copy import ServingCopy
from opportune.streams.serving_records import ServingRecords
from opportune.streams.snapshots import Followed, Snapshots, followed, place
from opportune.streams.tail import Tail, catch_up
from opportune.streams.topics import Topics

log = logging.getLogger("opportune.streams")

LEARN_EVERY = 20_000
STATEMENTS_HELD_S = 5.0
"""How long a statement on consent is believed at this door before the serving copy must know it."""


PATIENT_SHARE = 0.5
"""How much of what a caller will wait goes to Redis at most."""

LEAST_LEFT_MS = 1.0


class NotHere(OpportuneError):
    """421: this process does not play the role that the request needs."""

    status: ClassVar[int] = 421
    code: ClassVar[str] = "not_here"


class ClusterEngine(Engine):
    """``roles`` are of ``gateway``, ``decide`` and ``learn``. ``folder`` is scratch: emptied at the start.

    It starts from the newest snapshot that a learn role has published (:mod:`opportune.streams.snapshots`),
    and reads of the journal what came after; without one, as far back as Kafka keeps it.
    """

    def __init__(
        self,
        config: ClusterConfig,
        topics: Topics,
        workspace: Workspace,
        *,
        folder: Path,
        roles: Collection[str],
        clock: Clock = system_clock,
        warm: bool = False,
    ) -> None:
        self._config = config
        self._topics = topics
        self.roles = frozenset(roles)
        self.more_gauges: dict[str, Callable[[], float]] = {}
        """What others tell of this process, by name."""
        self._folder = folder
        super().__init__(lambda: RealDisk(folder), workspace, clock=clock, warm=warm)
        self._snapshots = (
            Snapshots(config, topics, folder / "snapshot", clock) if "learn" in self.roles else None
        )
        self._feed: ModelFeed | None = None
        if "decide" in self.roles:
            self._feed = ModelFeed(config, topics, folder, self.state.catalog)
            self._feed.take()
            self._served = Served(folder, workspace)
            self._live = partial(LiveVersions, folder, workspace.live)
            self._follow_models()
            self.refresh_ranker()

    def _load(self) -> None:
        self._start()
        self._statement_at = 0.0
        self._redis_away = ""
        self.copy = ServingCopy(self._config)
        self.log = KafkaLog(self._config, self._topics)
        state = self.state
        self._records = state.records = ServingRecords(
            self.copy,
            state.person,
            self.store,
            codecs({"person": state.person, "item": state.item, "session": state.session}),
            changed=state.components.forget,
        )
        self.lag = LagWatch(self._config, self._topics)
        self.entries = self._door = Door(self._records)
        self.rights = ClusterRights(self)
        for entry in catch_up(self.tail):
            self._learn(entry)
        state.models.learn()

    def _start(self) -> None:
        """Items and models from the newest snapshot that can be used, or none."""
        artifacts = Artifacts(self._config, self._topics.artifacts)
        self.started_from = ""
        try:
            artifacts.follow()
            for snapshot in artifacts.of_kind("snapshot"):
                try:
                    shutil.rmtree(self._folder, ignore_errors=True)
                    place(artifacts, snapshot, self._folder)
                    self._load_folder()
                except OpportuneError as error:
                    log.warning(
                        "the snapshot %s cannot be used, an older one may do: %s", snapshot.name, error
                    )
                    continue
                self.started_from = snapshot.name
                log.info("started from %s, %s", snapshot.name, snapshot.about)
                return
        finally:
            artifacts.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        log.info("no snapshot: the journal is read as far back as it is kept")
        self._load_folder()

    def _load_folder(self) -> None:
        """What is in the folder, and the tail of the topics that goes on after it."""
        super()._load()
        try:
            told = followed(self.store.meta)
            start = None if told is None else told.reached()
            self._learnt_entries = 0 if told is None else told.learnt
            self.tail = Tail(self._config, (self._topics.items, self._topics.journal), start=start)
            try:
                lost = self.tail.check_start()
            except OpportuneError:
                self.tail.close()
                raise
        except OpportuneError:
            self.abandon()
            raise
        if lost:
            log.warning("Kafka deleted %d messages that came after the snapshot: they were not learnt", lost)

    def _learn(self, entry: Entry) -> None:
        """Items and models from one entry of the journal. The number only says that one comes after another
        here: two replicas count differently."""
        self._learnt_entries += 1
        if type(entry) is Event:
            self.state.learn(self._learnt_entries, entry)
        elif type(entry) is DecisionRecord:
            self.state.learn_decision(self._learnt_entries, entry)
        elif type(entry) is Order:
            self.heard(entry)
        elif type(entry) is Switch:
            self.state.switches.fold(entry, self._learnt_entries)
            self._world.variants = self._variants()
        if self._learnt_entries % LEARN_EVERY == 0:
            self.state.models.learn()

    # -- erasure

    def erasing(self, identifiers: Sequence[str], *, suppress: bool = False) -> ClusterErasing:
        """An erasure of the whole cluster; the receipt comes from ``derive``."""
        return ClusterErasing(self, identifiers, suppress=suppress)

    def erasure(self, erasure_id: str) -> NoReturn:
        raise NotHere(
            "receipts are not kept here", seen=erasure_id, remedy="ask the process that plays derive"
        )

    def fresh_component(self, identifier: Identifier) -> Component:
        """As the workers have it now. Raises :class:`StorageError` when Redis does not answer."""
        known = self.state.components.remembered(identifier)
        self._records.refresh((identifier,), known)
        return self.component(identifier)

    def heard(self, order: Order) -> None:
        """Somebody is erased or kept out: this door lets nothing of them in, and nothing here names them."""
        self._door.hear(order)
        if not order.erases:
            return
        state, decisions = self.state, set[str]()
        for name in order.members:
            leaf = self._records.drop(name)
            if leaf is not None:
                decisions.update(exposure.decision_id for exposure in leaf.exposures)
            state.models.log.forget(name)
        for decision_id in decisions:
            self._records.drop_own(keys.OUTCOMES + decision_id)
        state.bandits.forget(decisions)
        self.forget_people()

    # -- the door

    def admit(self, raw_items: Sequence[RawItem], **about: Any) -> Admission:
        self._play("gateway", "accept events")
        return super().admit(raw_items, **about)

    def append(self, admissions: Sequence[Admission]) -> None:
        for admission in admissions:
            for entry in admission.entries:
                self.log.append(entry)

    def flush(self) -> None:
        """Until the brokers have what was appended. Raises :class:`StorageError`."""
        self.log.flush()

    def apply(self, admissions: Sequence[Admission]) -> None:
        """Nothing is folded here; what is acknowledged is no longer in flight."""
        for admission in admissions:
            self._in_flight.difference_update(admission.marks)
        if time.monotonic() - self._statement_at > STATEMENTS_HELD_S:
            self.consent.folded()
            self._statement_at = time.monotonic()

    def reopen(self) -> None:
        """After a failed flush. Raises :class:`StorageError` while no broker answers."""
        self.log.reopen()
        self._in_flight.clear()

    # -- decisions

    def decide(self, request: DecideRequest | dict[str, Any]) -> DecideResponse:
        """As :meth:`Engine.decide`. When Redis does not answer, the decision is made without
        what was known of the person, and says so."""
        self._play("decide", "decide")
        if isinstance(request, dict):
            request = request_of(request)
        began, deadline_ms = time.perf_counter(), request.deadline_ms
        hurried = deadline_ms is not None and 0 < deadline_ms < math.inf
        within_s = PATIENT_SHARE * deadline_ms / 1e3 if deadline_ms is not None and hurried else None
        self._refresh(from_mapping(request.identifiers), within_s)
        if deadline_ms is not None and hurried:
            left_ms = deadline_ms - 1e3 * (time.perf_counter() - began)
            request = msgspec.structs.replace(request, deadline_ms=max(left_ms, LEAST_LEFT_MS))
        answer = super().decide(request)
        if self._redis_away:
            for decision in answer.decisions:
                decision.degraded.append(f"profile: {self._redis_away}")
        behind = self.lag.roles.get("fold", 0)
        if behind > self._config.most_behind:
            for decision in answer.decisions:
                decision.degraded.append(f"profile: the workers are {behind:,} messages behind")
        return answer

    def profile(self, identifier: str, *, whole: bool = False) -> dict[str, Any]:
        key = parse(identifier)
        if key:
            self._refresh((key,))
        return super().profile(identifier, whole=whole)

    def _refresh(self, identifiers: Sequence[str], within_s: float | None = None) -> None:
        self._redis_away = ""
        if identifiers:
            try:
                known = self.state.components.remembered(identifiers[0])
                self._records.refresh(identifiers, known, within_s=within_s)
                if self.company is not None:
                    self._refresh_groups(identifiers[0], within_s)
            except StorageError as error:
                self._redis_away = error.what

    def _refresh_groups(self, identifier: str, within_s: float | None) -> None:
        """Two more round trips, for somebody in a group, where definitions ask about groups."""
        leaf = self.state.leaf
        groups = groups_of([leaf(name) for name in self.state.components.members(identifier)])
        if groups:
            self._records.refresh(groups, within_s=within_s)
            members = [member for group in groups for member in leaf(group).members]
            self._records.refresh(members, within_s=within_s)

    def _keep(self, record: DecisionRecord) -> None:
        self.log.append(record)
        self.log.poll()

    def _drain(self) -> None:
        return None

    def _decision_id(self, now: int) -> str:
        return new_decision_id(now)

    # -- what a replica does not have

    def record(self, decision_id: str) -> DecisionRecord:
        raise NotFound(
            "decision records are not kept here", seen=decision_id, remedy=f"read {self._topics.journal}"
        )

    def letter(self, letter_id: str) -> DeadLetter:
        raise NotFound(
            "dead letters are not kept here", seen=letter_id, remedy=f"read {self._topics.account}"
        )

    def switch_experiment(self, experiment_id: str, action: Literal["stop", "resume"], why: str) -> Admission:
        """As :meth:`Engine.switch_experiment`: all deciders follow within a second, and whoever starts later.
        Raises :class:`NotHere` where nobody could note who did it."""
        if self._config.postgres is None:
            raise NotHere(
                "without a shared audit log experiments are switched in one place",
                seen=experiment_id,
                remedy="ask the process that plays derive, or name postgres in cluster.yaml",
            )
        return super().switch_experiment(experiment_id, action, why)

    # -- life

    def maintain(self, budget_s: float = 0.0003) -> bool:
        """Follow the journal; true while more is waiting."""
        self.log.poll()
        if self._snapshots is not None and self._snapshots.step(self.state, self._followed(), budget_s):
            return True
        if self._feed is not None:
            self._feed.step()
            if self.clock() - self._looked_for_ranker >= LOOK_FOR_RANKER:
                self.refresh_ranker()
        until = time.perf_counter() + budget_s
        news = 0
        for entry in self.tail.entries():
            self._learn(entry)
            news += 1
        return news > 0 and time.perf_counter() < until

    def publish_snapshot(self) -> None:
        """One of what is learnt now, without waiting for its time. Raises :class:`StorageError`."""
        self._play("learn", "publish snapshots")
        assert self._snapshots is not None, "the learn role has them"
        self._snapshots.publish(self.state, self._followed())

    def _followed(self) -> Followed:
        taken = [(*part, *at) for part, at in sorted(self.tail.followed().items())]
        return Followed(self._learnt_entries, taken, self.workspace.revision)

    def checkpoint(self) -> None:
        """Nothing here is worth one: what is to last is in a snapshot."""

    def ready(self) -> dict[str, Any]:
        """Not ready is a decider that is far behind the journal itself. Workers that are behind are told and
        make no replica unready: all would be at once, and nobody would answer."""
        behind = self.tail.held
        return {
            "ready": behind <= self._config.most_behind or not self.roles & {"decide", "learn"},
            "roles": sorted(self.roles),
            "started_from": self.started_from or "the journal",
            "journal_read": self.tail.read,
            "journal_behind": behind,
            "workers_behind": self.lag.away or self.lag.roles,
            "serving_copy": self._redis_away or "answers",
        }

    def gauges(self) -> dict[str, float]:
        return {
            **super().gauges(),
            "journal_tail_entries": float(self.tail.read),
            "journal_tail_behind_entries": float(self.tail.held),
            "log_unacknowledged_entries": float(self.log.waiting),
            **({} if self._snapshots is None else {"snapshot_age_seconds": self._snapshots.age_s}),
            **{name: read() for name, read in self.more_gauges.items()},
            **{f"{role}_behind_messages": float(count) for role, count in self.lag.roles.items()},
        }

    def close(self) -> None:
        try:
            self.log.flush()
        finally:
            for one in (self._snapshots, self._feed):
                if one is not None:
                    one.close()
            self.lag.close()
            self.tail.close()
            self.copy.close()
            self.abandon()

    def _play(self, role: str, what: str) -> None:
        if role not in self.roles:
            raise NotHere(
                f"this process does not {what}", seen=sorted(self.roles), remedy=f"ask one that plays {role}"
            )
