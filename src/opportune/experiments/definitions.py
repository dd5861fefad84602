"""experiments.yaml: what is tried, on whom, at which placements, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise, product
from math import prod
from typing import Annotated, Any, Literal

import msgspec

from opportune.clock import DAY, HOUR, MINUTE, Millis
from opportune.config import definitions
from opportune.errors import InvalidDefinition, NotFound
from opportune.experiments.audience import audience
from opportune.experiments.bandits.running import Allocation
from opportune.experiments.buckets import equal_weights
from opportune.experiments.hashing import HashName

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Moment = Annotated[
    Any, msgspec.Meta(description="a day or an instant, ISO 8601", extra_json_schema={"format": "date-time"})
]
Span = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,4}[mhd]$")]

HOLDOUT = "holdout"
"""The universal holdout is an experiment of this id: what can be asked of one can be asked of it."""
MONEY = ("revenue", "conversion")
"""What the holdout is always judged by."""
HELD, TREATED = "held", "treated"
WEIGHTS_TOLERANCE = 1e-6
MAX_ARMS = 32
MAX_EXPERIMENTS = 200

_UNIT_MS = {"m": MINUTE, "h": HOUR, "d": DAY}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an arm changes at its placements; whatever is left out stays as the placement has it.

    ``sources``, ``diversity``, ``fallbacks``, ``count``, ``pool``, ``enabled``, ``objective``, ``likely``
    replace the placement's own; ``filters``, ``content`` and ``reasons`` replace it entry by entry;
    ``rules`` (boosts, buries, pins) come before its rules. ``ranker`` names a ranker, ``none`` shows the
    blend of the sources.
    """

    sources: tuple[dict[str, Any], ...] | None = None
    filters: dict[str, Any] = {}
    rules: tuple[dict[str, Any], ...] = ()
    ranker: str = ""
    content: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    diversity: dict[str, Any] | None = None
    fallbacks: tuple[str, ...] | None = None
    count: int | None = None
    pool: int | None = None
    enabled: bool | None = None
    objective: dict[str, float] | None = None
    likely: float | None = None


NO_CHANGE = Change()


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant. ``weight`` is its share of the experiment; leave all out for equal shares. ``value`` is
    what the experiment answers as a feature flag, and the item that it stands for where a bandit ranks.
    ``only`` holds a bandit's arm back where its conditions do not hold (a cap: ``{mails_7d: {lt: 3}}``); the
    other arms get its probability."""

    id: Name
    weight: Share | None = None
    change: Change = NO_CHANGE
    value: Any = None
    name: str = ""
    only: dict[str, Any] = {}


class Factor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dimension of a factorial experiment; every combination of levels is an arm ``a__b``."""

    id: Name
    levels: tuple[Arm, ...]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``coverage`` of the audience for ``hold`` (``12h``, ``2d``); the last step needs no ``hold``."""

    coverage: Share
    hold: Span = "1d"


class Ramp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A canary: coverage by steps from ``start`` on. Somebody once in stays in, because coverage only adds.
    A guardrail that is breached stops the experiment, and with it the ramp."""

    steps: tuple[Step, ...]


class Switchback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everybody gets one arm for ``period``, then the next is drawn: for effects that spill over between
    people (stock, delivery slots). ``by`` names a context field (``region``) that is drawn separately. The
    units of its report, and so of ``minimum`` and ``guardrails``, are periods, since people of one period
    are not independent; an outcome belongs to the person's newest exposure before it. Nothing takes out
    what lasts beyond its period: choose periods longer than the effect.
    """

    period: Span = "2h"
    by: str = ""


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when the metric is surely worse than ``tolerance`` (relative, 0.02 is 2 %) at error ``alpha``,
    whenever it is looked at. ``units`` per arm are waited for."""

    metric: Name
    tolerance: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.01
    units: Annotated[int, msgspec.Meta(ge=10)] = 100


class Minimum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No decision is recommended before ``days`` have passed or every arm has ``units``; ``both`` asks for
    both. Whole weeks keep weekdays from deciding."""

    days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 14
    units: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    both: bool = False


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment. The first arm is the control.

    ``unit`` is what is randomized: a ``person`` (sticky from the first exposure, through login), an
    ``anonymous_id``, a ``session``, an ``account`` or ``household`` (sticky for everybody in it), or ``time``
    (with ``switchback``). ``placements`` are where it runs; without any it is a feature flag only.
    ``status``: ``draft`` and ``stopped`` show everybody the placement as it is; ``ship`` shows everybody that
    arm. ``layer`` makes experiments of one layer
    exclude each other: each takes its ``slots``, a stretch of [0, 1). ``audience`` and ``coverage`` are asked
    when somebody comes in, never again. ``salt`` defaults to the id. A new id is a new randomization.
    ``metrics``: the first one decides. ``dimensions`` are context fields that the report splits by.
    With ``bandit`` the arms' weights are not used: traffic follows the rewards.
    """

    id: Name
    name: str = ""
    hypothesis: str = ""
    status: Literal["draft", "running", "stopped"] = "running"
    ship: str = ""
    unit: Literal["person", "anonymous_id", "session", "account", "household", "time"] = "person"
    placements: tuple[Name, ...] = ()
    arms: tuple[Arm, ...] = ()
    factors: tuple[Factor, ...] = ()
    coverage: Share = 1.0
    layer: str = ""
    slots: tuple[Share, Share] = (0.0, 1.0)
    audience: dict[str, Any] = {}
    hash: HashName = "blake2b"
    salt: str = ""
    start: Moment = None
    end: Moment = None
    ramp: Ramp | None = None
    switchback: Switchback | None = None
    metrics: tuple[Name, ...] = ("conversion",)
    guardrails: tuple[Guardrail, ...] = ()
    dimensions: tuple[str, ...] = ()
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    minimum: Minimum = Minimum()
    bandit: Allocation | None = None

    def variants(self) -> tuple[Arm, ...]:
        """The arms with their weights; those of a factorial experiment are its combinations."""
        if not self.factors:
            return _weighted(self.arms)
        levels = [_weighted(factor.levels) for factor in self.factors]
        return tuple(
            Arm(
                "__".join(level.id for level in combination),
                prod(level.weight or 0.0 for level in combination),
                _together([level.change for level in combination]),
                {factor.id: level.value for factor, level in zip(self.factors, combination, strict=True)},
                only={name: test for level in combination for name, test in level.only.items()},
            )
            for combination in product(*levels)
        )

    @property
    def control(self) -> str:
        return self.variants()[0].id

    @property
    def start_ms(self) -> Millis | None:
        return moment(self.start)

    @property
    def end_ms(self) -> Millis | None:
        return moment(self.end)


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of people for whom nothing is personalized and nothing is tried, so that what all of it earns
    can be measured. They see each placement with ``change`` applied: what is popular, unless said otherwise.
    ``placements`` limits it; without any it is everywhere. ``audience`` says who may be held out, as in
    experiments; who is not of it is neither held nor compared. ``metrics`` are measured besides revenue and
    conversion."""

    share: Share
    change: Change = Change(
        sources=({"source": "popular_in_category"}, {"source": "popular"}),
        ranker="none",
        fallbacks=("popular", "default"),
    )
    placements: tuple[Name, ...] = ()
    audience: dict[str, Any] = {}
    salt: str = HOLDOUT
    hash: HashName = "blake2b"
    metrics: tuple[Name, ...] = ()


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Experiments of one layer share nobody. ``hash`` as in experiments; GrowthBook's is its namespaces'."""

    id: str
    hash: HashName = "blake2b"


class Experiments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    experiments: tuple[Experiment, ...] = ()
    holdout: Holdout | None = None
    layers: tuple[Layer, ...] = ()

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self.experiments)

    def __bool__(self) -> bool:
        return bool(self.experiments) or self.holdout is not None

    def get(self, experiment_id: str) -> Experiment:
        """The experiment, the holdout among them. Raises :class:`NotFound` listing the known ids."""
        for experiment in self.with_holdout():
            if experiment.id == experiment_id:
                return experiment
        known = ", ".join(e.id for e in self.with_holdout()) or "none"
        raise NotFound("no such experiment", seen=experiment_id, remedy=f"known are: {known}")

    def with_holdout(self) -> list[Experiment]:
        found = list(self.experiments)
        if self.holdout is not None:
            found.append(holdout_experiment(self.holdout))
        return found


def holdout_experiment(holdout: Holdout) -> Experiment:
    """The holdout as the experiment that it is: held people are its control."""
    return Experiment(
        HOLDOUT,
        name="Universal holdout",
        placements=holdout.placements,
        arms=(Arm(HELD, holdout.share, holdout.change), Arm(TREATED, 1 - holdout.share)),
        audience=holdout.audience,
        salt=holdout.salt,
        hash=holdout.hash,
        metrics=tuple(dict.fromkeys((*MONEY, *holdout.metrics))),
    )


def parse_experiments(text: str, *, name: str = "experiments.yaml") -> Experiments:
    """Read and check experiments.yaml. Raises :class:`InvalidDefinition` with the path and a remedy."""
    found = definitions.parse(text, Experiments, name=name)
    if len(found.experiments) > MAX_EXPERIMENTS:
        raise InvalidDefinition(
            f"more than {MAX_EXPERIMENTS} experiments",
            seen=len(found.experiments),
            where=f"{name} $.experiments",
            remedy="remove those that are over; their results stay",
        )
    seen: dict[str, int] = {}
    for i, experiment in enumerate(found.experiments):
        where = f"{name} $.experiments[{i}]"
        first = seen.setdefault(experiment.id, i)
        if first != i:
            raise InvalidDefinition(
                f"two experiments have one id, first at $.experiments[{first}]",
                seen=experiment.id,
                where=f"{where}.id",
                remedy="rename one",
            )
        _check(experiment, where)
    _check_layers(found, name)
    if found.holdout is not None:
        audience(found.holdout.audience, f"{name} $.holdout.audience")
    return found


def moment(value: Any) -> Millis | None:
    """A day or an instant in milliseconds; without a zone it is UTC. Raises :class:`InvalidDefinition`."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidDefinition(
                "not a day or an instant", seen=value, remedy="write 2026-03-01 or 2026-03-01T08:00:00Z"
            ) from error
    if isinstance(value, datetime):
        at = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(at.timestamp() * 1000)
    if isinstance(value, date):
        return round(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    raise InvalidDefinition(
        "not a day or an instant", seen=value, remedy="write 2026-03-01 or 2026-03-01T08:00:00Z"
    )


def span_ms(span: str) -> Millis:
    """``30m``, ``12h``, ``2d`` in milliseconds."""
    return int(span[:-1]) * _UNIT_MS[span[-1]]


def _weighted(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    if any(arm.weight is None for arm in arms):
        weights = equal_weights(len(arms))
        return tuple(msgspec.structs.replace(a, weight=w) for a, w in zip(arms, weights, strict=True))
    return arms


def _together(changes: list[Change]) -> Change:
    """Several changes as one; of what both replace the later stands."""
    merged: dict[str, Any] = {}
    for change in changes:
        for field, value in msgspec.structs.asdict(change).items():
            if value in (None, {}, (), ""):
                continue
            before = merged.get(field)
            if isinstance(value, dict) and before and field != "diversity":
                merged[field] = {**before, **value}
            elif field == "rules" and before:
                merged[field] = (*before, *value)
            else:
                merged[field] = value
    return Change(**merged)


def _check(experiment: Experiment, where: str) -> None:
    def wrong(what: str, field: str, seen: Any, remedy: str) -> InvalidDefinition:
        return InvalidDefinition(what, seen=seen, where=f"{where}.{field}", remedy=remedy)

    if experiment.id == HOLDOUT:
        raise wrong("the id holdout is taken", "id", HOLDOUT, "declare the holdout as $.holdout")
    if bool(experiment.arms) == bool(experiment.factors):
        raise wrong(
            "an experiment needs either arms or factors", "arms", len(experiment.arms), "declare one of them"
        )
    groups = [("arms", experiment.arms)] if experiment.arms else []
    groups += [(f"factors[{k}].levels", factor.levels) for k, factor in enumerate(experiment.factors)]
    for field, arms in groups:
        _check_arms(arms, f"{where}.{field}")
    if len(experiment.variants()) > MAX_ARMS:
        raise wrong(
            f"more than {MAX_ARMS} arms", "factors", len(experiment.variants()), "use fewer factors or levels"
        )
    start, end = experiment.slots
    if not start < end:
        raise wrong("slots must be a stretch of [0, 1)", "slots", [start, end], "for example [0, 0.5]")
    if (experiment.slots != (0.0, 1.0)) and not experiment.layer:
        raise wrong("slots are of a layer", "layer", "", "name the layer that experiments share")
    if experiment.ship and experiment.ship not in {arm.id for arm in experiment.variants()}:
        raise wrong("no such arm", "ship", experiment.ship, "ship an arm of this experiment")
    if (experiment.unit == "time") != (experiment.switchback is not None):
        raise wrong(
            "unit: time and switchback belong together", "unit", experiment.unit, "give both or neither"
        )
    for field in ("start", "end"):
        try:
            moment(getattr(experiment, field))
        except InvalidDefinition as error:
            raise wrong(error.what, field, error.seen, error.remedy) from error
    if experiment.bandit is not None:
        for field in ("ramp", "switchback"):
            if getattr(experiment, field) is not None:
                raise wrong("a bandit moves its traffic itself", field, "given", "leave it out")
        _check_bandit(experiment, where)
        if experiment.coverage < 1:
            raise wrong("a bandit has all of its audience", "coverage", experiment.coverage, "leave it out")
        try:
            experiment.bandit.bandit(tuple(arm.id for arm in experiment.variants()))
        except InvalidDefinition as error:
            raise wrong(error.what, f"bandit.{error.where}", error.seen, error.remedy) from error
    elif any(arm.only for arm in experiment.variants()):
        raise wrong(
            "only a bandit's arms can be held back", "arms", "only", "give the experiment an audience"
        )
    if experiment.ramp is not None:
        steps = experiment.ramp.steps
        if experiment.start is None:
            raise wrong("a ramp needs to know when it began", "start", None, "add start: 2026-03-01")
        if not steps or any(b.coverage < a.coverage for a, b in pairwise(steps)):
            raise wrong(
                "a ramp goes up",
                "ramp.steps",
                [step.coverage for step in steps],
                "order the steps by coverage; to take a variant back, stop the experiment",
            )
    audience(experiment.audience, f"{where}.audience")


def _check_bandit(experiment: Experiment, where: str) -> None:
    """What rankings, shared models and guards need of the arms."""
    allocation, arms = experiment.bandit, experiment.variants()
    assert allocation is not None

    def wrong(what: str, field: str, seen: Any, remedy: str) -> InvalidDefinition:
        return InvalidDefinition(what, seen=seen, where=f"{where}.bandit.{field}", remedy=remedy)

    if allocation.show:
        named = [arm.value for arm in arms if isinstance(arm.value, str) and arm.value]
        if len(set(named)) < len(arms):
            raise wrong(
                "a ranking needs an item for every arm", "show", named, "give every arm its item as `value`"
            )
        if allocation.guard is not None:
            raise wrong("a ranking has no baseline arm", "guard", "given", "leave it out")
    if allocation.shared and not experiment.factors:
        raise wrong("a shared model is one over factors", "shared", True, "declare factors instead of arms")


def _check_arms(arms: tuple[Arm, ...], where: str) -> None:
    if len(arms) < 2:
        raise InvalidDefinition(
            "an experiment needs at least two arms",
            seen=len(arms),
            where=where,
            remedy="the first is the control: {id: control}",
        )
    ids = [arm.id for arm in arms]
    if len(set(ids)) < len(ids):
        raise InvalidDefinition("two arms have one id", seen=ids, where=where, remedy="rename one")
    for arm in arms:
        audience(arm.only, f"{where} {arm.id}.only")
    given = [arm.weight for arm in arms if arm.weight is not None]
    if given and len(given) < len(arms):
        raise InvalidDefinition(
            "some arms have a weight and some have none",
            seen=[arm.weight for arm in arms],
            where=where,
            remedy="give every arm a weight, or none of them for equal shares",
        )
    if given and abs(sum(given) - 1) > WEIGHTS_TOLERANCE:
        raise InvalidDefinition(
            "the weights do not sum to 1",
            seen=round(sum(given), 9),
            where=where,
            remedy="change them so that they do, or leave all out for equal shares",
        )


def _check_layers(found: Experiments, name: str) -> None:
    """Live experiments of one layer must not overlap."""
    taken: dict[str, list[tuple[float, float, str]]] = {}
    for i, experiment in enumerate(found.experiments):
        if not experiment.layer or experiment.status != "running":
            continue
        start, end = experiment.slots
        for other_start, other_end, other in taken.setdefault(experiment.layer, []):
            if start < other_end and other_start < end:
                raise InvalidDefinition(
                    f"its slots overlap those of {other} in layer {experiment.layer}",
                    seen=[start, end],
                    where=f"{name} $.experiments[{i}].slots",
                    remedy="give each running experiment of a layer its own stretch",
                )
        taken[experiment.layer].append((start, end, experiment.id))
