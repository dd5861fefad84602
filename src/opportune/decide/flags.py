"""Placements and experiments as feature flags, in OpenFeature's words (OFREP 0.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from opportune.decide.request import DecideRequest, Decision
from opportune.errors import InvalidRequest
from opportune.events.identifiers import ORDER, as_text, custom_kind
from opportune.experiments.assignment import Assigned
from opportune.experiments.definitions import Experiment

Reason = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]
"""The only words that providers know; anything else, a holdout say, is in the metadata."""

TARGETING_KEY = "targetingKey"
_SESSION = ("session_id", "sessionId")
_NAMES = {"userId": "user_id", "anonymousId": "anonymous_id", "accountId": "account", "deviceId": "device_id"}
_NO_TARGET = frozenset({TARGETING_KEY, "placements", *_SESSION, *_NAMES, *ORDER})


class Evaluation(msgspec.Struct, omit_defaults=True):
    """One flag's answer. Without ``value`` the caller's own default holds; ``variant`` is always there, as
    the Python provider cannot do without it."""

    key: str
    reason: Reason
    variant: str
    value: Any = msgspec.UNSET
    metadata: dict[str, str | bool | float] = msgspec.field(default_factory=dict)


def request_of(context: Mapping[str, Any]) -> DecideRequest:
    """Who asks, and about what: ``targetingKey`` is a ``user_id`` unless written ``type:value`` with a type
    that is known (``anonymous_id:a1``); ``anonymousId`` and its like are what they say; the rest is context.

    Raises :class:`InvalidRequest` for a context that names nobody.
    """
    identifiers: dict[str, str | None] = {}
    key = as_text(context.get(TARGETING_KEY))
    if key:
        kind, colon, value = key.partition(":")
        if colon and kind in ORDER:
            identifiers[kind] = value
        else:
            identifiers["user_id"] = key
    for name, value in context.items():
        kind = _NAMES.get(name, name if name in ORDER else "")
        if kind and (text := as_text(value)):
            identifiers.setdefault(custom_kind(kind), text)
    session = next((text for name in _SESSION if (text := as_text(context.get(name)))), "")
    if not identifiers and not session:
        raise InvalidRequest(
            "the context names nobody", where="$.context.targetingKey", remedy="send a targetingKey"
        )
    rest = {name: value for name, value in context.items() if name not in _NO_TARGET}
    return DecideRequest(identifiers=identifiers, session_id=session, context=rest)


def of_experiment(experiment: Experiment, assigned: Assigned) -> Evaluation:
    """An experiment as a flag: the arm's ``value``, or its id where it has none. Somebody who is not in it,
    or held out, gets no value, so that the code's own default holds."""
    if assigned.held:
        return Evaluation(experiment.id, "SPLIT", "", metadata={"holdout": True})
    for word in assigned.assignments:
        if word.experiment != experiment.id or word.why == "removed":
            continue
        arm = next(a for a in experiment.variants() if a.id == word.arm)
        value = arm.id if arm.value is None else arm.value
        reason: Reason = "STATIC" if word.why == "shipped" else "SPLIT"
        return Evaluation(
            experiment.id, reason, arm.id, value, {"experiment": experiment.id, "propensity": word.propensity}
        )
    return Evaluation(experiment.id, "UNKNOWN", "", metadata={"experiment": experiment.id})


def of_placement(decision: Decision) -> Evaluation:
    """A placement as a flag: an object of its items and content; outcomes may name the ``decision_id``."""
    arm = decision.experiment
    metadata: dict[str, str | bool | float] = {"decision_id": decision.decision_id}
    if arm.id:
        metadata |= {"experiment": arm.id, "holdout": arm.holdout}
    value = {
        "items": [{"item_id": i.item_id, "rank": i.rank, "item": i.item} for i in decision.items],
        "content": decision.content,
    }
    return Evaluation(
        decision.placement,
        "SPLIT" if arm.id else "TARGETING_MATCH",
        arm.variant or "default",
        value,
        metadata,
    )
