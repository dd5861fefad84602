"""The workspace: the folder with the definitions, or the defaults that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path

import msgspec

from opportune.config.definitions import load, read
from opportune.decide.placement import SOURCES, Placements, default_placements, load_placements
from opportune.engine.fencing import check_fence, fence_of, quiet_placements
from opportune.errors import InvalidDefinition, NotFound
from opportune.events.plan import EMPTY, Plan, load_plan
from opportune.experiments.definitions import Experiments, parse_experiments
from opportune.experiments.metrics import Metrics, parse_metrics
from opportune.identity.rules import IdentityRules, parse_rules
from opportune.learn.scores import LiveModels, ScoreOf, ScoreSet, compiled
from opportune.privacy.policy import PrivacyPolicy, parse_privacy
from opportune.privacy.sensitive import Fence
from opportune.profiles.consent.policy import ConsentPolicy, parse_policy
from opportune.profiles.definitions import FeatureSet, default_features, parse_features
from opportune.profiles.intents.definitions import IntentSet, parse_intents, with_intents
from opportune.profiles.segments import Segments, parse_segments

FEATURES = "features.yaml"
PLACEMENTS = "placements.yaml"
TRACKING_PLAN = "tracking_plan.yaml"
IDENTITY = "identity.yaml"
INTENTS = "intents.yaml"
SEGMENTS = "segments.yaml"
EXPERIMENTS = "experiments.yaml"
METRICS = "metrics.yaml"
SCORES = "scores.yaml"
CONSENT = "consent.yaml"
PRIVACY = "privacy.yaml"
FILES = (
    FEATURES, PLACEMENTS, TRACKING_PLAN, IDENTITY, INTENTS, SEGMENTS, EXPERIMENTS, METRICS, SCORES,
    CONSENT, PRIVACY,
)  # fmt: skip


class Workspace(msgspec.Struct, frozen=True):
    """All definitions, checked. ``revision`` changes when any of them does."""

    features: FeatureSet
    placements: Placements
    plan: Plan
    identity: IdentityRules
    intents: IntentSet = IntentSet()
    segments: Segments = msgspec.field(default_factory=Segments)
    experiments: Experiments = Experiments()
    metrics: Metrics = Metrics()
    scores: Mapping[str, ScoreOf] = {}
    live: LiveModels = msgspec.field(default_factory=LiveModels)
    consent: ConsentPolicy = ConsentPolicy()
    privacy: PrivacyPolicy = PrivacyPolicy()
    fence: Fence = msgspec.field(default_factory=Fence)
    revision: str = "defaults"


def load_workspace(folder: Path | None) -> Workspace:
    """Read every definition file that the folder has; what it has not comes from the defaults.

    Raises :class:`InvalidDefinition` with file, path and remedy.
    """
    if folder is not None and not folder.is_dir():
        raise InvalidDefinition(
            "the workspace is not a folder",
            where=str(folder),
            remedy="run 'opportune init FOLDER' to make one",
        )
    digest = blake2b(digest_size=6)
    present: dict[str, Path] = {}
    for name in FILES if folder is not None else ():
        path = Path(folder or ".") / name
        if path.is_file():
            present[name] = path
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    features = (
        parse_features(read(present[FEATURES]), name=FEATURES) if FEATURES in present else default_features()
    )
    intents = parse_intents(read(present[INTENTS])) if INTENTS in present else IntentSet()
    features = with_intents(features, intents)
    live = LiveModels()
    scores: dict[str, ScoreOf] = {}
    if SCORES in present:
        read_model = partial(_model_file, present[SCORES].parent)
        scores = compiled(load(present[SCORES], ScoreSet), read_model, live)
    known = frozenset((*scores, *(o for feature in features.of("person") for o in feature.outputs)))
    segments = parse_segments(read(present[SEGMENTS]), known=known) if SEGMENTS in present else Segments()
    placements = (
        load_placements(present[PLACEMENTS], SOURCES)
        if PLACEMENTS in present
        else default_placements(SOURCES)
    )
    _check_segments(placements, segments)
    experiments = parse_experiments(read(present[EXPERIMENTS])) if EXPERIMENTS in present else Experiments()
    metrics = parse_metrics(read(present[METRICS])) if METRICS in present else Metrics()
    _check_metrics(experiments, metrics)
    _check_audiences(experiments, segments)
    privacy = parse_privacy(read(present[PRIVACY])) if PRIVACY in present else PrivacyPolicy()
    fence = fence_of(privacy.sensitive, features)
    check_fence(fence, segments, experiments, placements)
    return Workspace(
        features=features,
        placements=quiet_placements(fence, placements),
        plan=load_plan(present[TRACKING_PLAN]) if TRACKING_PLAN in present else EMPTY,
        identity=parse_rules(read(present[IDENTITY]), name=IDENTITY)
        if IDENTITY in present
        else IdentityRules(),
        intents=intents,
        segments=segments,
        scores=scores,
        live=live,
        consent=parse_policy(read(present[CONSENT])) if CONSENT in present else ConsentPolicy(),
        privacy=privacy,
        fence=fence,
        experiments=experiments,
        metrics=metrics,
        revision=digest.hexdigest() if present else "defaults",
    )


def _model_file(folder: Path, name: str) -> bytes:
    """A model that scores.yaml names, from the workspace. Raises :class:`InvalidDefinition`."""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InvalidDefinition(
            f"cannot read the model ({error.strerror})",
            seen=name,
            where=SCORES,
            remedy="train it, or correct its path, which starts at the workspace",
        ) from error


def _check_metrics(experiments: Experiments, metrics: Metrics) -> None:
    """Every metric that an experiment names must be there. Raises :class:`InvalidDefinition`."""
    for experiment in experiments.with_holdout():
        for name in (*experiment.metrics, *(rail.metric for rail in experiment.guardrails)):
            try:
                metrics.get(name)
            except NotFound as error:
                raise InvalidDefinition(
                    error.what,
                    seen=name,
                    where=f"{EXPERIMENTS} {experiment.id} $.metrics",
                    remedy=f"declare it in {METRICS}, or use one of those: {error.remedy}",
                ) from error


def _check_audiences(experiments: Experiments, segments: Segments) -> None:
    """Every segment that an audience names must be there. Raises :class:`InvalidDefinition`."""
    held = () if experiments.holdout is None else (("$.holdout", experiments.holdout.audience),)
    for where, clauses in (*((e.id, e.audience) for e in experiments), *held):
        for path in clauses:
            name = path.removeprefix("segment.")
            if name != path and name not in segments.names:
                raise InvalidDefinition(
                    "no such segment",
                    seen=name,
                    where=f"{EXPERIMENTS} {where} audience",
                    remedy=f"declare it in {SEGMENTS}",
                )


def _check_segments(placements: Placements, segments: Segments) -> None:
    """Every segment that a rule names must be there. Raises :class:`InvalidDefinition`."""
    for placement in placements:
        for i, rule in enumerate(placement.rules):
            if rule.segment and rule.segment not in segments.names:
                raise InvalidDefinition(
                    "no such segment",
                    seen=rule.segment,
                    where=f"{PLACEMENTS} {placement.name} $.rules[{i}].segment",
                    remedy=f"declare it in {SEGMENTS}",
                )
