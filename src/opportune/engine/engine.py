"""Two verbs over one journal: ``ingest`` and ``decide``. Where the stages meet."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from opportune.catalog import embedding
from opportune.catalog.amounts import Amounts
from opportune.catalog.items import Catalog
from opportune.clock import Clock, Millis, system_clock
from opportune.decide import pipeline
from opportune.decide.flags import Evaluation
from opportune.decide.objective import COST
from opportune.decide.request import DecideRequest, DecideResponse, DecisionRecord
from opportune.decide.variants import Variants
from opportune.decide.warm_up import warm_up
from opportune.decide.world import PersonView, Refused, SessionView, World
from opportune.engine import flags
from opportune.engine.admission import Admission
from opportune.engine.anonymous_desk import AnonymousDesk
from opportune.engine.by_hand import ByHand
from opportune.engine.checkpoints import EVERY, Checkpoints
from opportune.engine.company import company_of
from opportune.engine.consent_gate import ConsentGate
from opportune.engine.erasing import DerivedEraser, Erasing
from opportune.engine.erasure import forget
from opportune.engine.holdings import holdings
from opportune.engine.kin import kin_of
from opportune.engine.live_models import LiveVersions
from opportune.engine.loading import load
from opportune.engine.minimising import Minimisation, minimisation, report_of
from opportune.engine.model_list import model_list
from opportune.engine.models import Models
from opportune.engine.retention_desk import RetentionDesk
from opportune.engine.retiring import DerivedExpirer, Retiring
from opportune.engine.rights import Rights
from opportune.engine.served import Served
from opportune.engine.turns import Turns
from opportune.engine.workspace import Workspace, load_workspace
from opportune.errors import InvalidRequest, NotFound, StorageError
from opportune.events.consent import NOTHING, read, says_something
from opportune.events.event import Identifier
from opportune.events.identifiers import from_mapping
from opportune.events.inline import inline_events
from opportune.identity.components import resolve
from opportune.identity.links import assert_together
from opportune.privacy.receipt import Receipt as ErasureReceipt
from opportune.privacy.receipt import Removed, read_receipt
from opportune.profiles.consent.policy import Use
from opportune.profiles.intents.reader import IntentReader
from opportune.profiles.person import People, Person
from opportune.stores.disk import Disk, RealDisk
from opportune.stores.simulated import Simulated, simulated

_ERASURE_ID = re.compile(r"[0-9a-f]{16}").fullmatch

LOOK_FOR_RANKER: Millis = 5_000
"""How often a running engine looks whether another ranker was promoted."""

_PERSONALIZE = int(Use.PERSONALIZE)  # as a plain value: flags cost a microsecond to compare

_NOISE = 64
"""Decision ids whose random half is drawn at once."""

PREPARED_AT_ONCE = 16
"""Items made ready to be shown in one slice of background work: 0.2 ms."""


class Engine(ByHand):
    """A personalization engine over one data folder. One thread at a time; one process per folder.

    ``ingest`` returns when the events are on disk and the next decision sees them. The steps that it is made
    of (:meth:`admit`, :meth:`append`, :meth:`flush`, :meth:`apply`) are public for callers that group the
    commits of many clients; only ``flush`` may run on another thread.
    """

    @classmethod
    def open(
        cls,
        data_dir: str | Path,
        *,
        workspace: str | Path | None = None,
        clock: Clock = system_clock,
        warm: bool = False,
        checkpoint_every: Millis = EVERY,
    ) -> Self:
        """Open or create a data folder: load the checkpoint, fold the journal's tail.

        ``workspace`` is the folder with the definitions; without it the defaults hold. ``warm`` compiles the
        kernels now instead of at the first use. ``checkpoint_every`` is how much a restart may have to fold
        again, in milliseconds of work. Raises :class:`StorageError` (in use, damaged, too new) and
        :class:`InvalidDefinition`.
        """
        definitions = load_workspace(None if workspace is None else Path(workspace))
        engine = cls(
            lambda: RealDisk(data_dir),
            definitions,
            clock=clock,
            warm=warm,
            checkpoint_every=checkpoint_every,
        )
        engine.data_dir = Path(data_dir)
        engine.workspace_dir = None if workspace is None else Path(workspace)
        engine._served = Served(data_dir, definitions)
        engine._live = partial(LiveVersions, data_dir, definitions.live)
        engine._follow_models()
        engine.refresh_ranker()
        return engine

    def __init__(
        self,
        open_disk: Callable[[], Disk],
        workspace: Workspace,
        *,
        clock: Clock = system_clock,
        warm: bool = False,
        checkpoint_every: Millis = EVERY,
    ) -> None:
        if warm:
            warm_up()
        self.workspace = workspace
        self._intents = _intent_reader(workspace)
        self.clock = clock
        self.on_degraded: Callable[[str, str], None] = lambda placement, stage: None
        self.learn_every: Millis = 0
        """How far the models that everybody shares may lag behind the events when a decision asks them. A
        person's own session never lags. With 0 every decision has the models catch up first: 0.1 ms where
        events keep coming."""
        self.data_dir: Path | None = None
        self.workspace_dir: Path | None = None
        self._erasures: dict[str, Erasing] = {}
        self.retention = RetentionDesk(self)
        self.rights = Rights(self)
        """What people ask for besides access and erasure."""
        self.derived_erasers: list[DerivedEraser] = []
        """What else takes erased people out of itself: tables that follow the journal."""
        self.derived_expirers: list[DerivedExpirer] = []
        """What else takes entries of the journal that are past their time out of itself."""
        self._learnt_at: Millis = 0
        self._noise: list[str] = []
        self._open_disk = open_disk
        self._checkpoint_every = checkpoint_every
        self._served: Served | None = None
        self._live: Callable[[Models, Catalog], LiveVersions] | None = None
        self._live_versions: LiveVersions | None = None
        self._looked_for_ranker: Millis = 0
        self._load()

    def _load(self) -> None:
        self._disk = self._open_disk()
        try:
            loaded = load(self._disk, self.workspace, self.clock)
        except BaseException:
            self._disk.close()
            raise
        self.entries = loaded.entries
        self.journal, self.store, self.state = loaded.journal, loaded.store, loaded.state
        self.anonymous = AnonymousDesk(self._disk, self.workspace.privacy.anonymous, self.clock)
        self._in_flight = set()
        self.consent = ConsentGate(self.state, self.workspace.consent)
        self.forget_people()
        self._unapplied = deque()
        self._checkpoints = Checkpoints(
            self.journal,
            self.store,
            self.state,
            self.clock,
            every=self._checkpoint_every,
            meta=self.entries.meta,
        )
        for placement in self.workspace.placements:
            for rule in placement.rules:
                for name in rule.where:
                    self.state.catalog.column(name)
        toward = {name for placement in self.workspace.placements for name in placement.objective}
        cost = Amounts(self.state.catalog, COST).of if "margin" in toward else None
        self._world = World(
            catalog=self.state.catalog,
            sources=self.state.models.sources,
            placements=self.workspace.placements,
            segments=self.workspace.segments,
            versions={"definitions": self.workspace.revision},
            variants=self._variants(),
            cost=cost,
            new_id=self._decision_id,
            degraded=lambda placement, stage: self.on_degraded(placement, stage),
        )

    # -- the second verb

    def decide(self, request: DecideRequest | dict[str, Any]) -> DecideResponse:
        """Choose what this person should see now. Always an answer, whatever fails inside.

        Raises :class:`InvalidRequest` and :class:`NotFound` for what the caller got wrong. About 0.3 ms.
        """
        if isinstance(request, dict):
            request = request_of(request)
        now = self.clock()
        identifiers = from_mapping(request.identifiers)
        inline, left_out = inline_events(
            request.events, received=now, identifiers=identifiers, session_id=request.session_id
        )
        if not identifiers and inline:
            identifiers = inline[-1].identifiers
        person = self.seen(identifiers, request.context, now)
        session = SessionView("", ()) if type(person) is Refused else SessionView(request.session_id, inline)
        self._next_record = self.journal.next_seq
        if not 0 <= now - self._learnt_at < self.learn_every:
            self.state.models.learn()
            self._learnt_at = now
        answers = pipeline.decide(self._world, request, person, session, now)
        try:
            for _, record in answers:
                self._keep(record)
        except StorageError as error:
            # A broken disk must not take the answer away; it is told, and the record is missing.
            for decision, _ in answers:
                decision.degraded.append(f"record: {error.what}")
        self._drain()
        if request.explain:
            for decision, _ in answers:
                told = decision.explanation
                if isinstance(told, dict):
                    told["features"] = self.workspace.fence.without_features(told["features"], "explanations")
        if left_out:
            for decision, _ in answers:
                decision.degraded.extend(left_out)
        return DecideResponse([decision for decision, _ in answers])

    def _keep(self, record: DecisionRecord) -> None:
        seq = self.journal.append([self.entries.encode(record)])
        self._unapplied.append(Admission([], [record], first_seq=seq, is_durable=True))

    def record_exposure(self, record: DecisionRecord) -> None:
        """Keep the record of a decision that was made elsewhere: a flag that was told. A broken disk does not
        take the answer away."""
        with contextlib.suppress(StorageError):
            self._keep(record)
        self._drain()

    def next_decision_id(self, now: Millis) -> str:
        """The id of the record that is kept next."""
        self._next_record = self.journal.next_seq
        return self._decision_id(now)

    def flag(self, key: str, context: Mapping[str, Any]) -> Evaluation:
        """A placement or an experiment as a feature flag; see :func:`opportune.engine.flags.evaluate`."""
        return flags.evaluate(self, key, context)

    def flags(self, context: Mapping[str, Any]) -> list[Evaluation]:
        """All flags of one context; see :func:`opportune.engine.flags.evaluate_all`."""
        return flags.evaluate_all(self, context)

    @property
    def variants(self) -> Variants | None:
        """The experiments as they are now; None when none is declared."""
        return self._world.variants

    @property
    def revision(self) -> str:
        return self.workspace.revision

    def _person(self, identifiers: Sequence[str], now: Millis = 0) -> Person:
        """The person of the identifiers at hand: their component, and what several of them together claim."""
        state = self.state
        if not identifiers:
            return Person(state.person, (), [state.person.zero()])
        asserted = assert_together(identifiers, now) if len(identifiers) > 1 else ()
        if not asserted and not (leaf := state.leaf(identifiers[0])).links:
            return Person(state.person, (identifiers[0],), [leaf])
        if asserted:
            found = resolve(
                identifiers[0], lambda key: state.leaf(key).links, self.workspace.identity, asserted=asserted
            ).identifiers
        else:
            found = state.components.members(identifiers[0])
        if len(found) == 1:
            return Person(state.person, found, [state.leaf(identifiers[0])])
        return self._people.get(found, [state.leaf(key) for key in found])

    def seen(self, identifiers: Sequence[str], context: Mapping[str, Any], now: Millis) -> PersonView:
        """The person as a decision may look at them: nobody, when they do not allow it, or when nothing of
        them is ever to be recorded again."""
        person = self._person(identifiers, now)
        person.company, person.kin = self.company, self.kin
        said = read(context) if says_something(context) else NOTHING
        if not int(self.consent.standing(person.identifiers, said).allowed) & _PERSONALIZE:
            return Refused()
        if self.entries.has_tombstones and any(map(self.entries.suppresses, person.identifiers)):
            return Refused()
        return person

    def _decision_id(self, now: Millis) -> str:
        """The id says where the record is: the journal sequence that it will get, and a random half that
        makes ids unguessable."""
        seq = self._next_record
        self._next_record += 1
        if not self._noise:
            drawn = secrets.token_hex(6 * _NOISE)
            self._noise = [drawn[at : at + 12] for at in range(0, len(drawn), 12)]
        return f"{seq:012x}{self._noise.pop()}"

    # -- models

    def refresh_ranker(self) -> bool:
        """Serve the live ranker, the canary and the shadow of the folder's registry; true when something
        changed. See :meth:`Served.refresh`."""
        now = self._looked_for_ranker = self.clock()
        if self._served is None:
            return False
        if self._live_versions is not None:
            self._live_versions.refresh()
        workspace = self._served.refresh(self._world, self.state.models, self.state.catalog, now)
        if workspace is None:
            return False
        self.workspace = workspace
        self._world.variants = self._variants()
        return True

    def simulated(self, experiment: str) -> Simulated | None:
        """What a simulator that sent this engine's shoppers knew of an experiment; None of a real shop."""
        return simulated(self.data_dir, experiment)

    def models(self) -> list[dict[str, Any]]:
        """Every kind of model with its newest versions; see :func:`model_list`. Reads the folder: some
        milliseconds."""
        if self._served is None:
            return []
        shadow = self._served.shadow
        return model_list(self._served.data_dir, None if shadow is None else shadow.found)

    def minimisation(self) -> Minimisation:
        """What is declared about people, what reads it and what live models gain from it; see
        :mod:`opportune.engine.minimising`. Reads the folder: some milliseconds a model."""
        if self.data_dir is None:
            return minimisation(self.workspace)
        return report_of(self.workspace, self.data_dir, self.workspace_dir)

    def _follow_models(self) -> None:
        """Sources and scores of the state that was just loaded have no model yet."""
        if self._live is not None:
            self._live_versions = self._live(self.state.models, self.state.catalog)

    # -- experiments

    def stop_for_guardrail(self, experiment_id: str, why: str) -> None:
        """:meth:`switch_experiment` and :meth:`commit`; a canary leaves its place in the registry too."""
        self.commit(self.switch_experiment(experiment_id, "stop", why))
        if self._served is not None:
            self._served.end_canary(experiment_id, why, self.clock())
            self.refresh_ranker()

    # -- privacy

    def erase(self, *identifiers: str, suppress: bool = False) -> ErasureReceipt:
        """Take people out of everything that the data folder holds, and prove it: everybody whom the
        identifiers (``user_id:u1``) lead to. With ``suppress`` nothing of them is taken in ever again;
        without, what they do from now on begins a new person. Raises :class:`InvalidRequest`,
        :class:`StorageError`.

        Erasing somebody unknown, or again, is no error: the receipt says that there was nothing.
        """
        erasing = self.erasing(identifiers, suppress=suppress)
        erasing.begin()
        return erasing.finish()

    def holdings(self, identifier: str) -> dict[str, Any]:
        """Everything that is held about a person; see :func:`opportune.engine.holdings.holdings`."""
        return holdings(self, identifier)

    def erasing(self, identifiers: Sequence[str], *, suppress: bool = False) -> Erasing:
        """An erasure in two steps, for callers that must not stop for the second."""
        made = Erasing(self, identifiers, suppress=suppress)
        self._erasures[made.id] = made
        return made

    def erasure(self, erasure_id: str) -> Erasing | ErasureReceipt:
        """An erasure that is under way, or the receipt of one that is done. Raises :class:`NotFound`."""
        missing = NotFound("no such erasure", seen=erasure_id, remedy="ids come with the answers")
        try:
            if not _ERASURE_ID(erasure_id):
                raise missing
            return read_receipt(self.entries.with_vault().receipt(erasure_id))
        except NotFound as error:
            if erasure_id not in self._erasures:
                raise missing from error
            return self._erasures[erasure_id]

    def retiring(self, *, dry_run: bool = False) -> Retiring:
        """Take out what is past its time, in two steps; see :mod:`opportune.engine.retiring`."""
        return Retiring(self, dry_run=dry_run)

    def forget(self, members: Sequence[Identifier]) -> Removed:
        """The part of an erasure that changes what is known; see :mod:`opportune.engine.erasure`."""
        removed = forget(self.state, members)
        self.entries.forget((), members)
        self.forget_people()
        self.consent.folded()
        return removed

    def checkpoint_turns(self) -> Turns:
        """A checkpoint of what is folded now, in turns."""
        return self._checkpoints.turns()

    def forget_people(self) -> None:
        """Drop every view of people, their groups and who is probably the same: leaves are not what they
        were."""
        self._people = People(self.state.person)
        self.company = company_of(self)
        self.kin = kin_of(self)

    # -- life

    def maintain(self, budget_s: float = 0.0003) -> bool:
        """Background work in small slices (checkpoints, merging, items made ready to be shown); true while
        more is waiting."""
        self.entries.keep_ready()
        if self.anonymous.is_on:
            self.anonymous.keep_up()
        more = False
        if self._served is not None:
            now = self.clock()
            if now - self._looked_for_ranker >= LOOK_FOR_RANKER:
                self.refresh_ranker()
            more = self._served.step(now)
        if self._checkpoints.step(budget_s) or more:
            return True
        return self.state.catalog.prepare(PREPARED_AT_ONCE)

    def checkpoint(self) -> None:
        """Write a checkpoint now and wait for it."""
        self._checkpoints.run()

    def reopen(self) -> None:
        """After a failed flush: forget what is in memory and believe only what is on disk."""
        self.abandon()
        self._load()
        if self._served is not None:
            self._served.forget()
            self._follow_models()
            self.refresh_ranker()

    def abandon(self) -> None:
        """Let go of the folder without flushing or writing anything, as if the process had died."""
        self._checkpoints.stop()
        self._disk.close()

    def close(self) -> None:
        """Flush, write a checkpoint, let go of the folder."""
        try:
            if self._served is not None:
                self._served.save(self.clock())
            if self.anonymous.is_on:
                self.anonymous.save()
            self._checkpoints.close()
            self.journal.close()
        finally:
            self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _intent_reader(workspace: Workspace) -> IntentReader | None:
    """Reads texts as the workspace's intents, by meaning where that is asked for or possible."""
    intents = workspace.intents
    if not intents.intents:
        return None
    if intents.vectors == "never" or (intents.vectors == "auto" and embedding.missing()):
        return IntentReader(intents)
    return IntentReader(intents, embedding.MiniLM())


def request_of(data: dict[str, Any]) -> DecideRequest:
    """Raises :class:`InvalidRequest` with the path of what is wrong."""
    try:
        return msgspec.convert(data, DecideRequest)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `")
        raise InvalidRequest(
            text, where=where.rstrip("`"), remedy="see docs/reference/http-api.md"
        ) from error
