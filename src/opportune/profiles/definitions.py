"""features.yaml: what is known about people, sessions and items, declared once for serving and training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

import msgspec

from opportune.clock import DAY, HOUR, MINUTE, Millis
from opportune.config.definitions import parse
from opportune.errors import InvalidDefinition
from opportune.profiles.accumulators import ACCUMULATORS, Accumulator, Affinity, LastValues, Preference
from opportune.profiles.accumulators.affinity import WEIGHT
from opportune.profiles.accumulators.sequence import MAX_LENGTH
from opportune.profiles.paths import condition, getter
from opportune.profiles.windows import ALL, OLD, Window, parse_window

Entity = Literal["person", "session", "item"]
FoldName = Literal[
    "count", "sum", "distinct", "recency", "age", "last", "min", "max", "mean", "affinity", "preference"
]

MAX_FEATURES = 200
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_HALF_LIFE = re.compile(r"([1-9]\d{0,3})([mhd])\Z")
_UNIT = {"m": MINUTE, "h": HOUR, "d": DAY}
_NEEDS_VALUE = frozenset({"sum", "min", "max", "mean", "distinct", "last", "affinity", "preference"})
_NO_WINDOWS = frozenset({"recency", "age", "last", "affinity", "preference"})
_FADES = frozenset({"affinity", "preference"})


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature.

    ``event``: canonical event names it is about (one or a list); leave it out for every event.
    ``value``: the path of what is summed, counted as distinct, remembered (see ``paths.py``).
    ``windows``: each gives one value, named ``<name>_<window>``; without windows there is one value over all
    time, named ``<name>``. ``recency``, ``age``, ``last``, ``affinity`` have no windows: they are about
    time itself.
    ``half_life``: affinity and preference, ``30m``, ``12h``, ``7d``. ``weights``: likewise, event name ->
    weight (-100 to 100, 1 if not named). ``n``: last only, how many values, 1 to 50.
    ``where``: conditions that must all hold, ``{path: value}`` or ``{path: {op: value}}``.
    """

    name: str
    fold: FoldName
    entity: Entity = "person"
    event: str | tuple[str, ...] = ()
    value: str = ""
    windows: tuple[str, ...] = ()
    half_life: str = ""
    weights: Mapping[str, float] = {}
    n: int = 10
    where: Mapping[str, Any] = {}
    description: str = ""

    @property
    def events(self) -> tuple[str, ...]:
        return (self.event,) if isinstance(self.event, str) else self.event

    def parsed_windows(self, where: str = "$.windows") -> list[Window]:
        """Narrowest first."""
        found = [parse_window(text, f"{where}[{i}]") for i, text in enumerate(self.windows)]
        return sorted(found, key=lambda w: (w.level, w.span))

    @property
    def windowed(self) -> bool:
        """Whether it needs rows by time; a feature over all time needs one accumulator."""
        return any(w.level < OLD for w in self.parsed_windows())

    def output(self, window: Window) -> str:
        return f"{self.name}_{window.name}" if self.windows else self.name

    @property
    def outputs(self) -> list[str]:
        """The names of the values that reading gives."""
        return [self.output(w) for w in self.parsed_windows() or [ALL]]

    def accumulator(self) -> Accumulator:
        if self.fold == "last":
            return LastValues(self.n)
        if self.fold == "affinity":
            return Affinity(_half_life(self.half_life, "$.half_life"))
        if self.fold == "preference":
            return Preference(_half_life(self.half_life, "$.half_life"))
        return ACCUMULATORS[self.fold]()

    def weight(self, event: str) -> int:
        """In whole thousandths."""
        return round(self.weights.get(event, 1) * WEIGHT)

    @property
    def meaning(self) -> bytes:
        """What the stored state of this feature depends on; windows and description are not part of it, but
        whether it is kept by time is."""
        state = (
            self.fold, self.entity, sorted(self.events), self.value, self.windowed, self.half_life,
            {k: self.weight(k) for k in self.weights}, self.n if self.fold == "last" else 0, self.where,
        )  # fmt: skip
        return self.name.encode() + b"\0" + _canonical.encode(state)


_canonical = msgspec.msgpack.Encoder(order="deterministic")


class FeatureSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``extends: defaults`` (the default) adds these to the shipped ones, replacing those of
    the same entity and name; ``extends: nothing`` starts empty."""

    features: tuple[Feature, ...] = ()
    extends: Literal["defaults", "nothing"] = "defaults"

    def of(self, entity: Entity) -> list[Feature]:
        return [feature for feature in self.features if feature.entity == entity]


def parse_features(text: str, *, name: str = "features.yaml") -> FeatureSet:
    """Read and check features.yaml. Raises :class:`InvalidDefinition` with the path and a remedy."""
    given = parse(text, FeatureSet, name=name)
    for index, feature in enumerate(given.features):
        _check(feature, f"{name} $.features[{index}]")
    merged: dict[tuple[str, str], Feature] = {}
    if given.extends == "defaults":
        merged = {(f.entity, f.name): f for f in default_features().features}
    _unique(given.features, name)
    merged.update({(f.entity, f.name): f for f in given.features})
    if len(merged) > MAX_FEATURES:
        raise InvalidDefinition(
            f"more than {MAX_FEATURES} features",
            seen=len(merged),
            where=f"{name} $.features",
            remedy="drop the ones that nothing reads",
        )
    whole = FeatureSet(tuple(merged.values()), given.extends)
    _unique_outputs(whole, name)
    return whole


def default_features() -> FeatureSet:
    """The shipped set: activity, RFM (recency, frequency, monetary), affinities, item trends."""
    text = files("opportune.profiles").joinpath("defaults.yaml").read_text(encoding="utf-8")
    given = parse(text, FeatureSet, name="defaults.yaml")
    for index, feature in enumerate(given.features):
        _check(feature, f"defaults.yaml $.features[{index}]")
    return given


def _check(feature: Feature, where: str) -> None:
    def wrong(what: str, field: str, seen: Any, remedy: str) -> InvalidDefinition:
        return InvalidDefinition(what, seen=seen, where=f"{where}.{field}", remedy=remedy)

    fold = feature.fold
    if not _NAME.match(feature.name):
        raise wrong(
            "not a feature name", "name", feature.name, "use a-z, 0-9 and _, at most 64, a letter first"
        )
    if fold in _NEEDS_VALUE and not feature.value:
        raise wrong(
            f"{fold} needs a value", "value", feature.value, "say which path it is about, like item_id"
        )
    if fold in ("count", "recency", "age") and feature.value:
        raise wrong(f"{fold} has no value", "value", feature.value, "leave value out")
    if feature.value:
        getter(feature.value, f"{where}.value")
    if feature.windows and fold in _NO_WINDOWS:
        raise wrong(f"{fold} has no windows", "windows", list(feature.windows), "leave windows out")
    names = [w.name for w in feature.parsed_windows(f"{where}.windows")]
    if len(set(names)) < len(names):
        raise wrong("a window is there twice", "windows", names, "name each window once")
    if fold in _FADES:
        _half_life(feature.half_life, f"{where}.half_life")
    elif feature.half_life or feature.weights:
        field = "half_life" if feature.half_life else "weights"
        raise wrong("only affinity and preference fade", field, getattr(feature, field), f"leave {field} out")
    for event, weight in feature.weights.items():
        if not -100 <= weight <= 100:
            raise wrong("a weight must be -100 to 100", f"weights.{event}", weight, "choose a smaller one")
        if feature.events and event not in feature.events:
            raise wrong("a weight for an event that is not counted", "weights", event, "add it to event")
    if not 1 <= feature.n <= MAX_LENGTH:
        raise wrong(f"n must be 1 to {MAX_LENGTH}", "n", feature.n, "remember fewer values")
    condition(feature.where, f"{where}.where")


def _half_life(text: str, where: str) -> Millis:
    found = _HALF_LIFE.match(text)
    if found is None:
        raise InvalidDefinition(
            "not a half-life", seen=text, where=where, remedy="write minutes, hours or days, like 7d"
        )
    return int(found[1]) * _UNIT[found[2]]


def _unique(features: tuple[Feature, ...], name: str) -> None:
    seen: dict[tuple[str, str], int] = {}
    for index, feature in enumerate(features):
        first = seen.setdefault((feature.entity, feature.name), index)
        if first != index:
            raise InvalidDefinition(
                f"the {feature.entity} feature is there twice, first at $.features[{first}]",
                seen=feature.name,
                where=f"{name} $.features[{index}].name",
                remedy="rename one",
            )


def _unique_outputs(whole: FeatureSet, name: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for feature in whole.features:
        for output in feature.outputs:
            other = seen.setdefault((feature.entity, output), feature.name)
            if other != feature.name:
                raise InvalidDefinition(
                    f"two {feature.entity} features give the same value, {other} and {feature.name}",
                    seen=output,
                    where=f"{name} $.features",
                    remedy="rename one",
                )
