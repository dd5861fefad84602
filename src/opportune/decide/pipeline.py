"""The pipeline: resolve -> profile -> eligibility -> assignment -> candidates -> rank -> policy -> content ->
record.

Each stage has a budget and a fallback, so that the answer always comes: personalized, else from the session
alone, else what is popular in this context, else the placement's own items, else an empty list that says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from opportune.clock import Millis
from opportune.decide.candidates import (
    Pool,
    ask,
    default_items,
    empty_pool,
    newest_items,
    propose,
)
from opportune.decide.content import bare, dress
from opportune.decide.deadline import Stages
from opportune.decide.eligibility import eligible
from opportune.decide.explain import explain
from opportune.decide.explore import explore
from opportune.decide.objective import Foreteller, lacking, no_cost, rank_toward
from opportune.decide.placement import DEFAULT, MAX_COUNT, NEWEST, Placement, Placements
from opportune.decide.plan import PINNED
from opportune.decide.policy import Known, Verdict, choose, nothing_shown, reasons_of_rules, safe_choice
from opportune.decide.rank import rank, unit
from opportune.decide.reasons import Speaker
from opportune.decide.record import record_of
from opportune.decide.request import DecideRequest, Decision, DecisionRecord, ExperimentInfo
from opportune.decide.situation import NO_SESSION, NOWHERE, Place, Session, place_of, session_of
from opportune.decide.variants import NO_RANKER, Variant, Variants, attributes
from opportune.decide.world import PersonView, Ranker, SessionView, Touch, Watch, World
from opportune.errors import InvalidRequest
from opportune.experiments.assignment import NOT_ASSIGNED, Assigned, Subject
from opportune.experiments.definitions import HOLDOUT
from opportune.profiles.history import HISTORY
from opportune.profiles.likely import CERTAIN, Belief, dial
from opportune.recommend.past import past_of
from opportune.recommend.source import Candidates, Floats, Items, Query

MAX_CANDIDATES = 10_000
MAX_EXCLUDE = 10_000
MAX_PLACEMENTS = 20
MAX_DEADLINE_MS = 60_000.0
SEGMENTS = "segments"
"""Where the record keeps the person's segments, when a rule asks for them."""


class _Person(msgspec.Struct, frozen=True):
    """What the profile stage found; empty where it failed. ``began``: when the present visit did."""

    identifiers: tuple[str, ...] = ()
    touches: tuple[Touch, ...] = ()
    bought: Mapping[str, Millis] = {}
    dismissed: Collection[str] = ()
    began: Millis = 0


def check(request: DecideRequest, placements: Placements) -> list[Placement]:
    """The placements asked for, in order. Raises :class:`InvalidRequest` or NotFound for what cannot be."""
    names = [request.placement] if request.placement else []
    if request.placements:
        names = list(dict.fromkeys(names + request.placements))
    if not names:
        raise InvalidRequest(
            "no placement named",
            where="$.placement",
            remedy=f"one of {', '.join(sorted(placements.by_name))}",
        )
    if len(names) > MAX_PLACEMENTS:
        raise InvalidRequest(
            f"at most {MAX_PLACEMENTS} placements in one request", seen=len(names), where="$.placements"
        )
    if request.count is not None and not 1 <= request.count <= MAX_COUNT:
        raise InvalidRequest(
            f"count must be 1 to {MAX_COUNT}",
            seen=request.count,
            where="$.count",
            remedy="leave it out for the placement's own",
        )
    if request.candidates or request.exclude:
        for field, values, most in (
            ("candidates", request.candidates or (), MAX_CANDIDATES),
            ("exclude", request.exclude, MAX_EXCLUDE),
        ):
            if len(values) > most:
                raise InvalidRequest(f"at most {most} {field}", seen=len(values), where=f"$.{field}")
    deadline = request.deadline_ms
    if deadline is not None and not (math.isfinite(deadline) and deadline > 0):
        raise InvalidRequest(
            "deadline_ms must be more than 0", seen=deadline, where="$.deadline_ms", remedy="for example 50"
        )
    return [placements.get(name) for name in names]


def decide(
    world: World, request: DecideRequest, person: PersonView, session: SessionView, now: Millis
) -> list[tuple[Decision, DecisionRecord]]:
    """One answer with its record per placement asked for, in order, no item twice.

    Raises :class:`InvalidRequest` for a request that cannot be answered and NotFound for an unknown
    placement; nothing else: what fails inside is named in the answer's ``degraded``.
    """
    placements = check(request, world.placements)
    deadline_ns = None
    if request.deadline_ms is not None:
        deadline_ns = world.timer() + int(min(request.deadline_ms, MAX_DEADLINE_MS) * 1_000_000)
    shared = Stages(world.timer, {}, deadline_ns, partial(world.degraded, placements[0].name))
    place = shared.run("resolve", partial(place_of, request.context, world.catalog), NOWHERE)
    known = shared.run("profile", partial(_profile, person, session, now), _Person())
    touched = shared.run(
        "profile", partial(session_of, known.touches, session.inline, now, world.catalog), NO_SESSION
    )
    elsewhere: set[int] = set()
    answers = []
    for placement in placements:
        stages = Stages(
            world.timer, placement.budget_ms, deadline_ns, partial(world.degraded, placement.name)
        )
        stages.degraded.extend(shared.degraded)
        stages.took_ms.update(shared.took_ms)
        slot = _Slot(
            world, placement, request, person, session.session_id, known, touched, place, now, stages
        )
        answers.append(slot.decide(elsewhere))
    return answers


def _profile(person: PersonView, session: SessionView, now: Millis) -> _Person:
    touches = tuple(person.session(now, session.session_id))
    began = now
    if touches:
        began = min(began, touches[0].time)
    if session.inline:
        began = min(began, session.inline[0].time)
    return _Person(tuple(person.identifiers), touches, person.bought, person.dismissed, began)


def told(decision: Decision, assigned: Assigned) -> None:
    """Put the arms into the answer; the holdout's own only for who is held, as everybody else is just not."""
    arms = [
        ExperimentInfo(a.experiment, a.arm, assigned.held)
        for a in assigned.assignments
        if a.why != "removed" and (assigned.held or a.experiment != HOLDOUT)
    ]
    if arms:
        decision.experiment = arms[0]
        if len(arms) > 1:
            decision.experiments = arms


class _Slot:
    """One placement of one request on its way through the stages."""

    def __init__(
        self,
        world: World,
        placement: Placement,
        request: DecideRequest,
        person: PersonView,
        session_id: str,
        known: _Person,
        session: Session,
        place: Place,
        now: Millis,
        stages: Stages,
    ) -> None:
        self.world = world
        self.placement = placement
        self.request = request
        self.person = person
        self.session_id = session_id
        self.known = known
        self.session = session
        self.place = Place(
            place.item if "item" in placement.context else -1,
            place.category if "category" in placement.context else -1,
        )
        self.now = now
        self.stages = stages
        self.belief: Belief | None = None

    def decide(self, elsewhere: set[int]) -> tuple[Decision, DecisionRecord]:
        """The answer; adds the item numbers it shows to ``elsewhere``."""
        world, stages = self.world, self.stages
        ranker, assigned = world.ranker, NOT_ASSIGNED
        eligibility = eligible(self.placement, self.person)
        if world.variants is not None and eligibility.shown:
            ranker, assigned = self._try(world.variants, elsewhere)
            eligibility = eligible(self.placement, self.person)
        placement = self.placement
        given = self._given()
        count = self._count(given)
        features = self._features(self.person)
        ranked_by = self._ranked_by(features)
        query = self._query(ranked_by)
        placement = self.placement = _for_segments(placement, features)
        proposed: Pool | None = None
        if eligibility.shown:
            proposed = stages.run("candidates", partial(self._candidates, query, given, count), None)
        else:
            stages.degrade("eligibility", eligibility.why)
        pool = empty_pool(placement) if proposed is None else proposed
        score = unit(pool.score)
        if ranker is None:
            stages.took_ms["rank"] = 0.0
        else:
            score = stages.run_if_time("rank", self._ranking(pool, ranker, query, ranked_by), score)
        if world.watch is not None and ranker is world.ranker:
            self._tell(world.watch, pool, score, query, ranked_by, count)
        policy = self._policy(elsewhere)
        if eligibility.shown:
            verdict = self._fill(pool, score, policy, count, query, only_given=given is not None)
        else:
            verdict = nothing_shown(score)
        decision_id = world.new_id(self.now)
        explored = None
        if placement.explore is not None and verdict.shown:
            explored = explore(verdict, placement.explore, decision_id)
        elsewhere.update(pool.item[verdict.shown].tolist())
        speaker = Speaker(placement, pool.names, world.sources, self.place, self.session, world.catalog)
        said = reasons_of_rules(placement.rules, pool.item, verdict.shown, world.catalog)
        items = stages.run("content", partial(dress, pool, verdict, speaker, world.catalog, said), None)
        if items is None:
            items = bare(pool, verdict, world.catalog)
        decision = Decision(
            decision_id=decision_id,
            placement=placement.name,
            items=items,
            content=placement.content,
            experiment=ExperimentInfo(),
            consent=eligibility.consent,
            degraded=stages.degraded,
            took_ms={},
        )
        if assigned.assignments:
            told(decision, assigned)
        record = stages.time(
            "record",
            partial(
                record_of,
                decision,
                self.request,
                pool,
                verdict,
                self.session,
                self.session_id,
                self.known.identifiers,
                world.catalog,
                {
                    "placements": world.placements.version,
                    **world.versions,
                    **({} if ranker is None else {"ranker": ranker.name}),
                },
                features,
                self.now,
                assigned.assignments,
                explored,
                self.belief,
            ),
        )
        decision.took_ms = record.took_ms = stages.finish()
        if self.request.explain:
            decision.explanation = explain(record)
        return decision, record

    def _policy(self, elsewhere: set[int]) -> Known:
        return Known(
            place=self.place,
            session=self.session,
            bought=self.known.bought,
            dismissed=self.known.dismissed,
            exclude=self.request.exclude,
            elsewhere=elsewhere,
            now=self.now,
        )

    def _try(self, variants: Variants, elsewhere: set[int]) -> tuple[Ranker | None, Assigned]:
        """Find the arms and become the placement that they make of it."""
        own = (Variant(self.placement), NOT_ASSIGNED)
        variant, assigned = self.stages.run("assignment", partial(self._assign, variants, elsewhere), own)
        self.placement = variant.placement
        ranker = self.world.ranker
        if variant.ranker == NO_RANKER:
            return None, assigned
        if variant.ranker and (ranker is None or ranker.name != variant.ranker):
            named = self.world.rankers.get(variant.ranker)
            if named is not None:
                return named, assigned
            self.stages.degrade("rank", f"there is no ranker {variant.ranker}")
        return ranker, assigned

    def _assign(self, variants: Variants, elsewhere: set[int]) -> tuple[Variant, Assigned]:
        person, context = self.person, self.request.context
        subject = Subject(
            identifiers=(*self.known.identifiers, *person.groups),
            session_id=self.session_id,
            exposed=person.exposed,
            attributes=lambda: attributes(
                person.features(self.now),
                person.traits,
                context,
                self.world.segments,
                dial(person, self.now, self._believe),
            ),
            context=context,
        )
        if variants.ranks(self.placement.name):
            subject.may_show = partial(self._may_show, elsewhere)
            subject.places = self.request.count or self.placement.count
        return variants.assign(self.placement, subject, self.now)

    def _ranking(
        self, pool: Pool, ranker: Ranker, query: Query, features: dict[str, Any]
    ) -> Callable[[], Floats]:
        """How the pool is ranked: by the ranker, or toward the placement's objective."""
        objective = self.placement.objective
        if objective:
            missing = lacking(ranker, objective)
            if isinstance(ranker, Foreteller) and not missing:
                cost = self.world.cost or no_cost
                return partial(
                    rank_toward, pool, ranker, query, features, objective, self.world.catalog, cost
                )
            self.stages.degrade("rank", f"{ranker.name} has no model of {', '.join(missing)}")
        return partial(rank, pool, ranker, query, features)

    def _may_show(self, elsewhere: set[int], item_ids: Sequence[str]) -> set[str]:
        """Which of the items the placement's filters let through for this person, here and now."""
        catalog = self.world.catalog
        numbers = catalog.numbers(item_ids)
        bare = msgspec.structs.replace(self.placement, rules=(), diversity=None)
        pool = empty_pool(bare)
        pool.add(PINNED, _just_there(numbers), 0)
        allowed = choose(bare, pool, pool.score, self._policy(elsewhere), catalog, max(len(pool), 1)).shown
        return {catalog.ids[number] for number in pool.item[allowed].tolist()}

    def _tell(
        self, watch: Watch, pool: Pool, score: Floats, query: Query, features: dict[str, Any], count: int
    ) -> None:
        sources = pool.names[: len(pool.said)]
        took = self.stages.took_ms.get("rank", 0.0)
        watch.offer(
            pool.item, pool.score, score, pool.said, sources, query, features, count, took, pool.worth
        )

    def _query(self, features: Mapping[str, Any]) -> Query:
        return Query(
            session=self.session.item,
            kind=self.session.kind,
            age_s=self.session.age_s,
            now=self.now,
            count=self.placement.pool,
            item=self.place.item,
            category=self.place.category,
            past=past_of(features, self.world.catalog.number, self.now),
        )

    def _given(self) -> Items | None:
        """The request's candidates as item numbers; what the catalogue does not know cannot be shown."""
        given = self.request.candidates
        if given is None:
            return None
        numbers = self.world.catalog.numbers(dict.fromkeys(given))
        unknown = len(set(given)) - len(numbers)
        if unknown:
            self.stages.degrade("candidates", f"{unknown} of the given are not in the catalogue")
        return numbers

    def _count(self, given: Items | None) -> int:
        if self.request.count is not None:
            return self.request.count
        if given is not None and self.placement.keep_all:
            return min(max(len(given), 1), MAX_COUNT)
        return self.placement.count

    def _ranked_by(self, features: dict[str, Any]) -> dict[str, Any]:
        """What ranks: the person's features, or those of them together with who is probably the same, where
        the placement is content with that. Segments have dials of their own."""
        if self.placement.likely >= CERTAIN:
            return features
        work = partial(self.person.likely, self.placement.likely)
        found = self.stages.run_if_time("profile", work, None)
        if found is None:
            return features
        self._believe(found.belief)
        return {**self._features(found.person), **{k: v for k, v in features.items() if k == SEGMENTS}}

    def _believe(self, belief: Belief) -> None:
        """Remember for the record that a probable link was looked at."""
        self.belief = belief

    def _features(self, person: PersonView) -> dict[str, Any]:
        """The features that the placement names and what rankers look at, as the person has them now.
        Nothing asked for costs nothing; features cost one read of the profile, 5 to 15 us a request, and the
        earlier visits a sixth of the whole decision, with the record and the ranker's work."""
        kept = self._of_profile(person)
        if HISTORY in self.world.reads:
            nothing: dict[str, list[Any]] = {}
            work = partial(person.history, self.known.began)
            history = self.stages.run_if_time("profile", work, nothing)
            if history:
                kept[HISTORY] = history
        return kept

    def _of_profile(self, person: PersonView) -> dict[str, Any]:
        wanted = self.placement.features
        segmented = person is self.person and any(rule.segment for rule in self.placement.rules)
        if not wanted and not segmented:
            return {}
        nothing: dict[str, Any] = {}
        found = self.stages.run_if_time("profile", partial(person.features, self.now), nothing)
        kept = {name: found[name] for name in wanted if name in found}
        if segmented:
            recorded = found.get(SEGMENTS)  # a decision that is made again keeps the segments it was made for
            if recorded is None:
                recorded = self.world.segments.of(found, dial(person, self.now, self._believe))
            kept[SEGMENTS] = recorded
        return kept

    def _candidates(self, query: Query, given: Items | None, count: int) -> Pool:
        pool = propose(self.world, self.placement, query, given, self.stages)
        pins = [rule.pin for rule in self.placement.rules if rule.pin and rule.rank <= count]
        if pins:
            numbers = self.world.catalog.numbers(pins)
            pool.add(PINNED, _just_there(numbers), 0)
        return pool

    def _fill(
        self, pool: Pool, score: Floats, known: Known, count: int, query: Query, *, only_given: bool
    ) -> Verdict:
        """Choose; while there is too little to show, go down the placement's ladder and choose again."""
        placement, stages = self.placement, self.stages
        verdict = self._choose(pool, score, known, count)
        if only_given:
            return verdict
        asked_late = False
        for tier, step in enumerate(placement.fallbacks, start=1):
            if len(verdict.shown) >= count:
                return verdict
            if step == DEFAULT:
                found = default_items(placement, self.world.catalog)
            elif step == NEWEST:
                found = newest_items(self.world.catalog)
            elif not stages.late() or not asked_late:
                # One step is asked whatever the time, because an empty answer helps nobody.
                asked_late = asked_late or stages.late()
                found = ask(self.world, step, query, stages, until_ns=None)
            else:
                stages.degrade(f"candidates.{step}", "late")
                continue
            before = len(pool)
            stages.run("candidates", partial(pool.add, step, found, tier), None)
            if len(pool) > before:
                score = np.concatenate((score, pool.score[before:]))
                verdict = self._choose(pool, score, known, count)
        if len(verdict.shown) < count:
            stages.degrade("candidates", f"{len(verdict.shown)} of {count}, nothing else may be shown")
        return verdict

    def _choose(self, pool: Pool, score: Floats, known: Known, count: int) -> Verdict:
        """The policy's verdict. It is never skipped for time; where it fails, only the placement's own items
        are safe to show."""
        verdict = self.stages.run(
            "policy", partial(choose, self.placement, pool, score, known, self.world.catalog, count), None
        )
        return (
            safe_choice(self.placement, pool, score, known, self.world.catalog, count)
            if verdict is None
            else verdict
        )


def _just_there(numbers: Items) -> Candidates:
    """Items without a score and without anything that they are because of."""
    nothing = np.zeros(len(numbers), dtype=np.float32)
    return Candidates(numbers, nothing, np.full(len(numbers), -1, dtype=np.int32))


def _for_segments(placement: Placement, features: Mapping[str, Any]) -> Placement:
    """The placement without the rules that are for segments that the person is not in."""
    if SEGMENTS not in features:
        return placement
    mine = features[SEGMENTS]
    rules = tuple(rule for rule in placement.rules if not rule.segment or rule.segment in mine)
    return msgspec.structs.replace(placement, rules=rules)
