"""The second verb in OpenFeature's words: evaluate one flag, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from opportune.decide.flags import Evaluation, of_experiment, of_placement, request_of
from opportune.decide.record import bounded_context
from opportune.decide.request import DecideRequest, DecisionRecord, ExperimentInfo
from opportune.decide.variants import attributes
from opportune.decide.world import PersonView, Refused
from opportune.errors import InvalidRequest, NotFound
from opportune.events.identifiers import from_mapping
from opportune.experiments.assignment import NOT_ASSIGNED, Assigned, Subject
from opportune.experiments.definitions import HOLDOUT, Experiment
from opportune.profiles.likely import dial

if TYPE_CHECKING:
    from opportune.engine.engine import Engine

FLAG = "flag:"
"""What the placement of an exposure through a flag begins with."""
MAX_PLACEMENTS = 20


def evaluate(engine: Engine, key: str, context: Mapping[str, Any]) -> Evaluation:
    """One flag: an experiment by its id, or a placement by its name (an experiment wins a shared name).

    Being told is being exposed: what an experiment's flag answers is recorded as a decision. Raises
    :class:`NotFound` for a flag that does not exist and :class:`InvalidRequest` for a context without a unit.
    """
    request = request_of(context)
    experiment = next((e for e in engine.workspace.experiments if e.id == key), None)
    if experiment is not None:
        return _experiment(engine, experiment, request)
    if key in engine.workspace.placements.by_name:
        asked = msgspec.structs.replace(request, placement=key)
        return of_placement(engine.decide(asked).decisions[0])
    raise NotFound("no such flag", seen=key, remedy="a flag is the id of an experiment or placement")


def evaluate_all(engine: Engine, context: Mapping[str, Any]) -> list[Evaluation]:
    """Every experiment, and the placements that the context names in ``placements`` (a list, or a text with
    commas): asking for a placement makes a decision, so it is made only where one is wanted."""
    wanted = context.get("placements", ())
    names = [n.strip() for n in wanted.split(",")] if isinstance(wanted, str) else wanted
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise InvalidRequest(
            "placements is a list of names", where="$.context.placements", remedy="list them"
        )
    keys = [e.id for e in engine.workspace.experiments]
    keys += [n for n in names[:MAX_PLACEMENTS] if n and n in engine.workspace.placements.by_name]
    return [evaluate(engine, key, context) for key in dict.fromkeys(keys)]


def _experiment(engine: Engine, experiment: Experiment, request: DecideRequest) -> Evaluation:
    variants = engine.variants
    if variants is None or not variants.assigner.is_on(experiment.id):
        return Evaluation(experiment.id, "DISABLED", "")
    now = engine.clock()
    person = engine.seen(from_mapping(request.identifiers), request.context, now)
    subject = Subject(
        identifiers=(*person.identifiers, *person.groups),
        session_id=request.session_id,
        exposed=person.exposed,
        attributes=lambda: attributes(
            person.features(now),
            person.traits,
            request.context,
            engine.workspace.segments,
            dial(person, now),
        ),
        context=request.context,
    )
    assigned = variants.assigner.flag(experiment.id, subject, now)
    fresh = tuple(a for a in assigned.assignments if a.key and a.why == "assigned")
    if fresh:
        _expose(engine, experiment, request, person, Assigned(fresh, assigned.held), now)
    return of_experiment(experiment, assigned if assigned.assignments else NOT_ASSIGNED)


def _expose(
    engine: Engine,
    experiment: Experiment,
    request: DecideRequest,
    person: PersonView,
    assigned: Assigned,
    now: int,
) -> None:
    """A record of the first time that somebody is told; later ones say nothing new."""
    own = next((a for a in assigned.assignments if a.experiment != HOLDOUT), assigned.assignments[0])
    engine.record_exposure(
        DecisionRecord(
            decision_id=engine.next_decision_id(now),
            placement=FLAG + experiment.id,
            time=now,
            identifiers=tuple(person.identifiers),
            session_id=request.session_id,
            context=bounded_context(request.context),
            inputs={},
            candidates=[],
            scores=[],
            sources=[],
            because=[],
            source_names=(),
            shown=0,
            propensities=[],
            reasons=[],
            experiment=ExperimentInfo(own.experiment, own.arm, assigned.held),
            consent="contextual" if isinstance(person, Refused) else "personal",
            degraded=[],
            versions={"definitions": engine.workspace.revision},
            features={},
            removed={},
            took_ms={},
            assignments=assigned.assignments,
        )
    )
