"""What would have happened: recorded decisions made again under other placements, and judged on what came of
them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
import numpy as np

from opportune.decide.attribution import DecisionOutcomes
from opportune.decide.explore import EXPLORED
from opportune.decide.placement import Placements
from opportune.decide.replay import replay
from opportune.decide.request import DecisionRecord
from opportune.decide.world import World, new_decision_id
from opportune.experiments.offpolicy import intervals
from opportune.experiments.offpolicy.estimators import Estimator, Ips, Rounds, Snips, value
from opportune.experiments.offpolicy.evaluation import doubts
from opportune.experiments.offpolicy.overlap import of_weights


class WhatIf(msgspec.Struct):
    """``kept`` is the share of places that show the same item, ``moved`` of those whose item was shown
    elsewhere in the list, ``new`` of those whose item was not shown at all. ``drift`` is the share of
    places that the *present* placements fill differently from the record, because models and catalogue
    have moved on since. ``logged`` and the estimates are rewards per place; estimates have their bootstrap
    interval over decisions."""

    decisions: int = 0
    other_placements: int = 0
    identical: int = 0
    places: int = 0
    kept: float = 0.0
    moved: float = 0.0
    new: float = 0.0
    drift: float = 0.0
    logged: float = 0.0
    estimates: dict[str, dict[str, float]] = {}
    judged: bool = False
    verdict: str = "cannot be judged from this log: there is no decision in it"


def what_if(
    world: World,
    placements: Placements,
    records: Iterable[tuple[DecisionRecord, DecisionOutcomes]],
    kinds: Collection[str] = (),
    *,
    seed: int = 0,
) -> WhatIf:
    """Make every recorded decision again with ``placements`` and compare, place by place.

    A place pays 1 when one of the ``kinds`` of outcome (any, without kinds) came of the item that was shown
    there. Weights are ``[same item] / propensity``: a log without any exploration speaks only of places that
    stay as they were, and the verdict says so; where its placements ``explore``, it speaks of every item that
    a place could have got. Decisions at placements that the file does not have are
    counted and left alone. O(decisions x the cost of a decision), twice.
    """
    world = msgspec.structs.replace(world, new_id=new_decision_id, degraded=lambda placement, stage: None)
    other = msgspec.structs.replace(world, placements=placements, variants=None)
    found = WhatIf(estimates={})
    weight: list[float] = []
    reward: list[float] = []
    cluster: list[int] = []
    kept = moved = drifted = supported = 0
    for record, outcomes in records:
        if record.placement not in placements.by_name:
            found.other_placements += 1
            continue
        shown = record.candidates[: record.shown]
        explored = record.inputs.get(EXPLORED, {})
        natural, free = explored.get("natural", shown), frozenset(explored.get("free", ()))
        again = replay(other, record)
        now = replay(world, record) if record.placement in world.placements.by_name else []
        paid = {o.item_id for o in outcomes.outcomes if not kinds or o.kind in kinds}
        found.identical += natural == again
        for place, item in enumerate(shown):
            same = place < len(again) and again[place] == item
            propensity = record.propensities[place] if place < len(record.propensities) else 1.0
            weight.append(1.0 / propensity if same else 0.0)
            reward.append(1.0 if item in paid else 0.0)
            cluster.append(found.decisions)
            before = natural[place]
            drifted += place >= len(now) or now[place] != before
            then = again[place] if place < len(again) else ""
            supported += then == before or (before in free and then in free)
        kept += sum(a == b for a, b in zip(natural, again, strict=False))
        moved += sum(a != b and b in natural for a, b in zip(natural, again, strict=False))
        found.decisions += 1
    found.places = len(weight)
    if not weight:
        return found
    found.kept, found.moved, found.drift = (n / found.places for n in (kept, moved, drifted))
    found.new = 1.0 - found.kept - found.moved
    found.logged = float(np.mean(reward))
    rounds = Rounds.without_model(np.array(reward), np.array(weight), np.array(cluster))
    estimators: list[Estimator] = [Ips(), Snips()]
    ends = intervals.bootstrap(estimators, rounds, seed=seed)
    found.estimates = {
        each.name: {"value": value(each, rounds), "low": low, "high": high}
        for each, (low, high) in zip(estimators, ends, strict=True)
    }
    reasons = doubts(of_weights(rounds.weight, rounds.reward, 1 - supported / found.places))
    found.judged = not reasons
    found.verdict = _words(found, reasons)
    return found


def _words(found: WhatIf, reasons: list[str]) -> str:
    if found.identical == found.decisions:
        return "nothing would have changed: every decision comes out the same"
    if reasons:
        return "cannot be judged from this log: " + "; ".join(reasons)
    said: dict[str, Any] = found.estimates["snips"]
    if said["low"] <= found.logged <= said["high"]:
        how = "no difference shown"
    else:
        how = "better" if said["value"] > found.logged else "worse"
    return (
        f"{how}: {said['value']:.4g} per place ({said['low']:.4g} to {said['high']:.4g}) "
        f"against {found.logged:.4g}"
    )
