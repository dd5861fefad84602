"""What a decision is asked with, and what it answers; the names are the wire's."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from opportune.experiments.assignment import Assignment
from opportune.profiles.likely import Belief


class DecideRequest(msgspec.Struct, kw_only=True):
    """``POST /v1/decide``. Works with nothing but a placement; everything else makes the answer better.

    ``events`` are inline tracking events of this session, used for this decision and not stored.
    ``count`` overrides the placement's, 1 to 200. ``deadline_ms`` is how long the caller will wait.
    """

    placement: str = ""
    placements: list[str] = []
    identifiers: dict[str, str | None] = {}
    session_id: str = ""
    context: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    candidates: list[str] | None = None
    exclude: list[str] = []
    count: int | None = None
    deadline_ms: float | None = None
    explain: bool = False


class Reason(msgspec.Struct, omit_defaults=True, gc=False):
    """Why an item is shown: a ``code`` for machines, a ``text`` fit for the person it is shown to."""

    code: str
    text: str
    item_id: str = ""


class RankedItem(msgspec.Struct, gc=False):
    """``item`` is what the catalogue shows of the item; inside the engine it is JSON made once per item."""

    item_id: str
    rank: int
    score: float
    reasons: list[Reason]
    item: msgspec.Raw | dict[str, Any]


class ExperimentInfo(msgspec.Struct, gc=False):
    """An arm that shaped the answer; ``holdout`` when the universal holdout did."""

    id: str = ""
    variant: str = ""
    holdout: bool = False


class Decision(msgspec.Struct):
    """One placement's answer. ``degraded`` names every stage that failed or was skipped, and why;
    ``took_ms`` has ``total`` and one entry per stage. ``experiments`` has every arm when there are several;
    ``experiment`` is the first."""

    decision_id: str
    placement: str
    items: list[RankedItem]
    content: dict[str, Any]
    experiment: ExperimentInfo
    consent: Literal["personal", "contextual"]
    degraded: list[str]
    took_ms: dict[str, float]
    explanation: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    experiments: list[ExperimentInfo] | msgspec.UnsetType = msgspec.UNSET


class DecideResponse(msgspec.Struct):
    decisions: list[Decision]


class DecisionRecord(msgspec.Struct, array_like=True, tag="d"):
    """What the journal keeps of a decision: enough to explain it, to attribute outcomes to it, to replay it.

    ``candidates``, ``scores``, ``sources`` and ``because`` are parallel, the shown items first (``shown`` of
    them), then the best of what was not shown. ``sources`` holds a bit per candidate source, in the order of
    ``source_names``. ``propensities`` is parallel to the shown items. ``assignments`` are the arms that the
    person was shown, with what they had been drawn by. ``slot`` is the key that seals it, -1 for none.
    ``likely`` is there when it was looked at what is known of somebody who is probably the same; ``features``
    are the person's own all the same.
    """

    decision_id: str
    placement: str
    time: int
    identifiers: tuple[str, ...]
    session_id: str
    context: dict[str, Any]
    inputs: dict[str, Any]
    candidates: list[str]
    scores: list[float]
    sources: list[int]
    because: list[str]
    source_names: tuple[str, ...]
    shown: int
    propensities: list[float]
    reasons: list[Reason]
    experiment: ExperimentInfo
    consent: str
    degraded: list[str]
    versions: dict[str, str]
    features: dict[str, Any]
    removed: dict[str, int]
    took_ms: dict[str, float]
    assignments: tuple[Assignment, ...] = ()
    slot: int = -1
    likely: Belief | None = None
