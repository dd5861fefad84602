"""The decision record: what the journal keeps, to explain, attribute and replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.candidates import Pool
from opportune.decide.explore import EXPLORED, Explored
from opportune.decide.policy import Verdict
from opportune.decide.request import DecideRequest, Decision, DecisionRecord, Reason
from opportune.decide.situation import Session
from opportune.experiments.assignment import Assignment
from opportune.profiles.likely import Belief

MAX_UNSHOWN = 16
_MAX_GIVEN = 200
_MAX_CONTEXT_CHARS = 256
_MAX_CONTEXT_KEYS = 20


def record_of(
    decision: Decision,
    request: DecideRequest,
    pool: Pool,
    verdict: Verdict,
    session: Session,
    session_id: str,
    identifiers: Sequence[str],
    catalog: Catalog,
    versions: Mapping[str, str],
    features: Mapping[str, Any],
    now: Millis,
    assignments: tuple[Assignment, ...] = (),
    explored: Explored | None = None,
    likely: Belief | None = None,
) -> DecisionRecord:
    """The record of one decision. The unshown candidates kept are the best ``MAX_UNSHOWN``.

    ``inputs`` has what :func:`~opportune.decide.replay.replay` needs: the session as item ids, kinds and ages
    in milliseconds, the request's own candidates, exclusions and count, what policy hid about the person, and
    (``by_source``, ``examples``, ``boosted``) what explanations name. ``reasons`` are the distinct first
    reasons of the shown items, and ``reason_of`` has a byte per shown item, its index there.
    """
    ids = catalog.ids
    kept = np.array(verdict.shown + verdict.rest[:MAX_UNSHOWN], dtype=np.intp)
    item = pool.item[kept].tolist()
    because = pool.because[kept].tolist()
    inputs: dict[str, Any] = {"by_source": pool.proposed}
    if len(session.item):
        inputs["session"] = [ids[number] for number in session.item.tolist()]
        inputs["kinds"] = session.kind.tobytes()
        inputs["ages_ms"] = [round(age * 1000) for age in session.age_s.tolist()]
    if request.candidates is not None:
        inputs["candidates"] = _known(request.candidates, catalog)
    if request.exclude:
        inputs["exclude"] = _known(request.exclude, catalog)
    if request.count is not None:
        inputs["count"] = request.count
    if verdict.examples:
        inputs["examples"] = {why: [ids[n] for n in numbers] for why, numbers in verdict.examples.items()}
    if pool.foretold:
        inputs["objective"] = dict(pool.objective)
        inputs["foretold"] = {
            name: [round(float(chance[at]), 6) for at in kept.tolist() if at < len(chance)]
            for name, chance in pool.foretold.items()
        }
    if verdict.boosted:
        inputs["boosted"] = verdict.boosted
    if verdict.hidden:
        hidden = {why: [ids[n] for n in numbers[:_MAX_GIVEN]] for why, numbers in verdict.hidden.items()}
        inputs["hidden"] = hidden
    if explored is not None and explored.free:
        inputs[EXPLORED] = {
            "natural": [ids[pool.item[at]] for at in explored.natural],
            "free": [ids[pool.item[at]] for at in explored.free],
        }
    reasons: list[Reason] = []
    place: dict[tuple[str, str, str], int] = {}
    reason_of: list[int] = []
    before, at = None, 0
    for shown in decision.items:
        if shown.reasons:
            reason = shown.reasons[0]
            if reason is not before:
                before = reason
                at = place.setdefault((reason.code, reason.text, reason.item_id), len(reasons))
                if at == len(reasons):
                    reasons.append(reason)
            reason_of.append(at)
    if 0 < len(reason_of) == len(verdict.shown):
        inputs["reason_of"] = bytes(reason_of)
    return DecisionRecord(
        decision_id=decision.decision_id,
        placement=decision.placement,
        time=now,
        identifiers=tuple(identifiers),
        session_id=session_id[:_MAX_CONTEXT_CHARS],
        context=bounded_context(request.context),
        inputs=inputs,
        candidates=[ids[number] for number in item],
        scores=verdict.score[kept].tolist(),
        sources=pool.sources[kept].tolist(),
        because=[ids[number] if number >= 0 else "" for number in because],
        source_names=pool.names,
        shown=len(verdict.shown),
        propensities=[1.0] * len(verdict.shown) if explored is None else explored.propensities,
        reasons=reasons,
        experiment=decision.experiment,
        consent=decision.consent,
        degraded=decision.degraded,
        versions=dict(versions),
        features=dict(features),
        removed=verdict.removed,
        took_ms=decision.took_ms,
        assignments=assignments,
        likely=likely,
    )


def _known(item_ids: list[str], catalog: Catalog) -> list[str]:
    """The first of the ids that the catalogue knows: no others can have played a part."""
    return list(islice((item_id for item_id in item_ids if catalog.number(item_id) >= 0), _MAX_GIVEN))


def bounded_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context's plain values, cut to size: a caller must not be able to fill the journal."""
    kept: dict[str, Any] = {}
    for name in list(context)[:_MAX_CONTEXT_KEYS]:
        value = context[name]
        if isinstance(value, str):
            kept[name[:64]] = value[:_MAX_CONTEXT_CHARS]
        elif isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
            kept[name[:64]] = value
    return kept
