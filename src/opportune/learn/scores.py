"""scores.yaml: learnt models whose answers are features of a person like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from opportune.errors import InvalidDefinition
from opportune.learn.buying import DAY_S, BuyingModel
from opportune.learn.spending import SpendingModel

ScoreOf = Callable[[Mapping[str, Any]], Any]
"""Features -> a number, the several values of an uplift, or None."""
T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``model`` is a file beside scores.yaml that training wrote, or ``live:buy``, ``live:churn``,
    ``live:clv``, ``live:uplift`` for the version that is live in the data folder; with none live the
    score is null. A propensity gives its probability. An uplift has several values, which conditions look
    into with a dot: ``.uplift`` is what the treatment is predicted to change, ``.effect`` with ``.low``
    and ``.high`` what it did change among people predicted alike, ``.audience`` one of ``persuadable``,
    ``sure thing``, ``lost cause``, ``sleeping dog``, ``.treat`` whether that interval speaks for the
    treatment. A model of buying gives, as ``what`` says, the ``orders`` expected within ``days``, the
    probability of being a customer still (``alive``) or no longer (``churned``), or with a file of
    ``spending`` the ``value`` of those orders: the customer's lifetime value over that time, not
    discounted. ``spent`` names the feature with what all orders were worth."""

    name: str
    model: str
    what: str = "orders"
    days: float = 90.0
    spending: str = ""
    spent: str = "spend_all"


class ScoreSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    scores: tuple[Score, ...] = ()


_WHAT = ("orders", "alive", "churned", "value")


LIVE = "live:"
LIVE_KINDS = ("buy", "churn", "clv", "uplift")
MODEL, SPENDING = "model", "spending"
"""The parts of a live model."""


class LiveModels:
    """The models that scores take from the registry: kind -> its parts, put in while the engine runs.
    ``wanted`` are the kinds that some score names."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self._parts: dict[str, dict[str, bytes]] = {}

    def put(self, kind: str, parts: dict[str, bytes] | None) -> None:
        """Serve these parts from now on; None serves nothing."""
        if parts is None:
            self._parts.pop(kind, None)
        else:
            self._parts[kind] = parts

    def get(self, kind: str) -> dict[str, bytes] | None:
        return self._parts.get(kind)


def compiled(
    definition: ScoreSet, read: Callable[[str], bytes], live: LiveModels | None = None
) -> dict[str, ScoreOf]:
    """Score name -> what it gives for features; ``read`` takes the name of a model's file, ``live`` has those
    of the registry. Raises :class:`InvalidDefinition` with the path and a remedy."""
    live = live or LiveModels()
    found: dict[str, ScoreOf] = {}
    for i, score in enumerate(definition.scores):
        where = f"scores.yaml $.scores[{i}]"
        if not _NAME.match(score.name) or score.name in found:
            raise InvalidDefinition(
                "not a name, or there twice",
                seen=score.name,
                where=f"{where}.name",
                remedy="use a-z, 0-9 and _, a letter first, each name once",
            )
        if score.what not in _WHAT:
            raise InvalidDefinition(
                "a score cannot be that", seen=score.what, where=f"{where}.what", remedy=f"use one of {_WHAT}"
            )
        if score.model.startswith(LIVE):
            found[score.name] = _live(score, live, where)
            continue
        if score.what == "value" and not score.spending:
            raise InvalidDefinition(
                "a value needs a model of spending", where=f"{where}.spending", remedy="name its file"
            )
        found[score.name] = _score(score, read, where)
    return found


def _live(score: Score, live: LiveModels, where: str) -> ScoreOf:
    kind = score.model.removeprefix(LIVE)
    if kind not in LIVE_KINDS:
        raise InvalidDefinition(
            "no model of that kind gives scores",
            seen=kind,
            where=f"{where}.model",
            remedy=f"use one of {', '.join(LIVE + name for name in LIVE_KINDS)}",
        )
    live.wanted.add(kind)
    named = msgspec.structs.replace(score, model=MODEL, spending=SPENDING if score.what == "value" else "")
    made: list[tuple[dict[str, bytes], ScoreOf]] = []

    def of(features: Mapping[str, Any]) -> Any:
        parts = live.get(kind)
        if parts is None:
            return None
        if not made or made[0][0] is not parts:
            made[:] = [(parts, _score(named, parts.__getitem__, where))]
        return made[0][1](features)

    return of


def _score(score: Score, read: Callable[[str], bytes], where: str) -> ScoreOf:
    data = read(score.model)
    kind = _kind(data, f"{where}.model")
    if kind == "propensity":
        from opportune.learn.propensity import Propensity, PropensityModel  # loads kernels

        propensity = Propensity(_model(data, PropensityModel, f"{where}.model"))
        return lambda features: round(propensity.read(features), 6)
    if kind == "uplift":
        from opportune.learn.uplift import Uplift, UpliftModel  # loads kernels

        return Uplift(_model(data, UpliftModel, f"{where}.model")).read
    if kind != "buying":
        raise InvalidDefinition(
            "not a model that gives scores", seen=kind, where=f"{where}.model", remedy="train it again"
        )
    buying = _model(data, BuyingModel, f"{where}.model")
    spending = None
    if score.spending:
        spending = _model(read(score.spending), SpendingModel, f"{where}.spending")

    def of(features: Mapping[str, Any]) -> float | None:
        both = buying.of(features, ahead_s=score.days * DAY_S)
        if both is None:
            return None
        orders, alive = both
        if score.what == "alive":
            return round(alive, 6)
        if score.what == "churned":
            return round(1 - alive, 6)
        if spending is None or score.what == "orders":
            return round(orders, 6)
        n = float(features[buying.orders])
        return round(orders * spending.expected(n, float(features.get(score.spent) or 0.0) / n), 6)

    return of


class _Kind(msgspec.Struct):
    kind: str = ""


def _kind(data: bytes, where: str) -> str:
    return _model(data, _Kind, where).kind


def _model(data: bytes, shape: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidDefinition(
            f"not a model file ({error})", where=where, remedy="write it with msgspec.json.encode(model)"
        ) from error
