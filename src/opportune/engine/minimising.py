"""Data minimisation: what is declared about people, and what reads it (GDPR article 5.1c).

Something is read when what the engine does depends on it: placements, segments, experiments, bandits, models
that are live, households, proposals of who is one. That colleagues look at it in a profile is no gain that
this counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from opportune.config.definitions import load
from opportune.engine.alike import CONTACTS
from opportune.engine.rankers import Rankers
from opportune.engine.versions import Versions
from opportune.engine.workspace import SCORES, Workspace
from opportune.identity.matching.model import MatchModel
from opportune.learn.inputs import inputs_of
from opportune.learn.scores import LIVE, MODEL, ScoreSet
from opportune.stores.likely import MODEL as MATCH_MODEL
from opportune.stores.likely import LikelyStore

TRAITS = "traits"


class Declared(msgspec.Struct, frozen=True):
    """Something kept about people. ``unread``: of a feature that is read, its values that are not. ``gain``:
    the largest share that a live model gains from it, 0 where models are given it in vain, None where none
    is given it or says."""

    kind: Literal["feature", "session feature", "score", "trait"]
    name: str
    read_by: tuple[str, ...]
    unread: tuple[str, ...] = ()
    gain: float | None = None


class LiveInputs(msgspec.Struct, frozen=True):
    """A model that answers now: what it is given, and what of it changes any of its answers. ``no_gain``:
    groups of features that training found worth nothing on held-out cases, where it asked; ``gain``: the
    share of the gain of each input, where the model says."""

    model: str
    version: str
    given: tuple[str, ...]
    used: tuple[str, ...]
    no_gain: tuple[str, ...] = ()
    gain: Mapping[str, float] = {}

    @property
    def unused(self) -> tuple[str, ...]:
        used = frozenset(self.used)
        return tuple(name for name in self.given if name not in used)


class Minimisation(msgspec.Struct, frozen=True):
    """The report; what nobody reads stands first."""

    declared: tuple[Declared, ...]
    models: tuple[LiveInputs, ...]

    @property
    def unread(self) -> tuple[Declared, ...]:
        return tuple(one for one in self.declared if not one.read_by)

    @property
    def no_gain(self) -> tuple[Declared, ...]:
        """What live models are given and none gains from."""
        return tuple(one for one in self.declared if one.gain == 0)

    def told(self) -> dict[str, Any]:
        """As plain values, for people and programs."""
        models = [{**msgspec.to_builtins(one), "unused": list(one.unused)} for one in self.models]
        return {
            "declared": msgspec.to_builtins(self.declared),
            "models": models,
            "unread": len(self.unread),
            "no_gain": [one.name for one in self.no_gain],
        }


def minimisation(
    workspace: Workspace, models: Sequence[LiveInputs] = (), matched: Collection[str] = ()
) -> Minimisation:
    """``models`` are those that are live, ``matched`` the traits that proposals of who is one compare. A
    model counts as a reader when something reads its score, a feature as a reader of traits when it is read.
    """
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for path, reader in _asked(workspace):
        readers[_root(path)].append(reader)
    for model in models:
        if readers.get(model.model):
            for path in model.used:
                readers[_root(path)].append(f"score {model.model}")
    declared = [
        Declared("score", name, _once(readers[name]), gain=_gain((name,), models))
        for name in workspace.scores
    ]
    for feature in workspace.features.of("person"):
        read_by = _once(reader for output in feature.outputs for reader in readers[output])
        unread = tuple(output for output in feature.outputs if read_by and not readers[output])
        declared.append(Declared("feature", feature.name, read_by, unread, _gain(feature.outputs, models)))
        if read_by:
            for path in (feature.value, *feature.where):
                readers[_root(path)].append(f"feature {feature.name}")
    # No definition can name a value of a session: its features are kept for whoever reads profiles.
    declared += [Declared("session feature", f.name, ()) for f in workspace.features.of("session")]
    for trait in workspace.identity.household:
        readers[f"{TRAITS}.{trait}"].append("households")
    for trait in matched:
        readers[f"{TRAITS}.{trait}"].append("proposals of who is one")
    named = _traits(workspace) | {path for path in readers if path.startswith(f"{TRAITS}.")}
    declared += [
        Declared("trait", path.removeprefix(f"{TRAITS}."), _once(readers[path])) for path in sorted(named)
    ]
    return Minimisation(tuple(sorted(declared, key=lambda one: bool(one.read_by))), tuple(models))


def live_inputs(data_dir: Path, workspace: Path | None) -> list[LiveInputs]:
    """The models that the scores of a workspace ask, under the scores' names, and the live ranker; as they
    are on disk now. Raises :class:`InvalidDefinition`."""
    found = []
    scores = workspace / SCORES if workspace is not None else None
    if scores is not None and scores.is_file():
        for score in load(scores, ScoreSet).scores:
            if score.model.startswith(LIVE):
                versions = Versions(data_dir, score.model.removeprefix(LIVE))
                live = versions.registry().live
                if live is None:
                    continue
                version, data = f"{versions.kind} {live}", versions.store.text(live, MODEL).encode()
            else:
                version, data = score.model, (scores.parent / score.model).read_bytes()
            inputs = inputs_of(score, data)
            found.append(LiveInputs(score.name, version, inputs.given, inputs.used, gain=inputs.gain))
    rankers = Rankers(data_dir)
    ranker = rankers.registry().live
    if ranker is not None:
        info = rankers.info(ranker)
        used = tuple(name for name in info.features if info.importance.get(name, 0) > 0)
        no_gain = tuple(group for group, told in info.ablation.items() if not told["pays"])
        gain = {name: info.importance.get(name, 0.0) for name in info.features} if info.importance else {}
        found.append(LiveInputs("the ranker", ranker, tuple(info.features), used, no_gain, gain))
    return found


def _gain(outputs: Iterable[str], models: Sequence[LiveInputs]) -> float | None:
    """The largest share of a model's gain that these values have together."""
    named = frozenset(outputs)
    shares = [
        sum(model.gain.get(path, 0.0) for path in of_these)
        for model in models
        if model.gain and (of_these := [path for path in model.given if _root(path) in named])
    ]
    return max(shares, default=None)


def report_of(workspace: Workspace, data_dir: Path, folder: Path | None) -> Minimisation:
    """The report of a data folder and the workspace in ``folder``, as they are now. Reads the files of live
    models: some milliseconds each. Raises :class:`InvalidDefinition`, Corrupt."""
    matching = LikelyStore(data_dir).read(MATCH_MODEL, MatchModel)
    compared = [] if matching is None else [column.column.name for column in matching.columns]
    return minimisation(
        workspace, live_inputs(data_dir, folder), [name for name in compared if name not in CONTACTS]
    )


def _asked(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Paths that definitions ask of a person, and who asks."""
    for placement in workspace.placements:
        for name in placement.features:
            yield name, f"placement {placement.name}"
    for segment in workspace.segments.definition.segments:
        for path in segment.when:
            yield path, f"segment {segment.name}"
    for experiment in workspace.experiments.with_holdout():
        if experiment.status == "stopped":
            continue
        of_arms = (path for arm in experiment.variants() for path in arm.only)
        of_bandit = () if experiment.bandit is None else experiment.bandit.features
        for path in (*experiment.audience, *of_bandit, *of_arms):
            yield path, f"experiment {experiment.id}"


def _traits(workspace: Workspace) -> set[str]:
    """Traits that some definition names, whatever for."""
    named = {*workspace.identity.traits, *workspace.privacy.retention.traits}
    for rule in workspace.plan.definition.events.values():
        named.update((rule.traits or {}).get("properties", {}))
    paths = {f"{TRAITS}.{name}" for name in named}
    for feature in workspace.features.features:
        paths |= {_root(path) for path in (feature.value, *feature.where) if path.startswith(f"{TRAITS}.")}
    return paths


def _root(path: str) -> str:
    """What a path looks into: the value of a feature by its name, or ``traits.NAME``."""
    first, _, rest = path.partition(".")
    return f"{TRAITS}.{rest.partition('.')[0]}" if first == TRAITS else first


def _once(readers: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(readers))
