"""A person's own model over item vectors, as profiles show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.world import World
from opportune.profiles.history import HISTORY
from opportune.profiles.person import Person
from opportune.recommend.past import past_of
from opportune.recommend.ranker import LearnedRanker
from opportune.recommend.taste import believe, taste_of

SHOWN = 5
LEAST = 0.01
"""Of a belief that is shown: what has faded to nothing is not."""


def taste(world: World, person: Person, catalog: Catalog, now: Millis) -> dict[str, Any]:
    """Which way the person's taste points: ``vectors``, the live ranker whose item vectors speak;
    ``evidence``, how many items of theirs have one; and the items that they are believed to like best
    (``toward``) and least (``away``), with mean and standard deviation of the belief. As a visit that began
    after all that is known would have it. Empty where no live ranker has vectors, or none of
    their items, and where all has faded.

    One look at every vector of the catalogue, 3 ms for 40,000: for profiles, not for decisions.
    """
    ranker = world.ranker
    if not isinstance(ranker, LearnedRanker):
        return {}
    past = past_of({HISTORY: person.history(now + 1)}, catalog.number, now)
    belief = taste_of(ranker.vectors, past)
    if not belief.evidence:
        return {}
    items = np.arange(len(ranker.vectors), dtype=np.int32)
    thought = np.full((2, len(items)), np.nan, np.float32)
    believe(ranker.vectors, belief, items, thought)
    known = np.flatnonzero(np.isfinite(thought[0]))
    order = known[np.argsort(-thought[0, known], kind="stable")].tolist()

    def told(numbers: list[int]) -> list[dict[str, Any]]:
        return [
            {
                "item_id": catalog.ids[number],
                "mean": round(float(thought[0, number]), 4),
                "sd": round(float(thought[1, number]), 4),
            }
            for number in numbers
        ]

    toward = [number for number in order[:SHOWN] if thought[0, number] >= LEAST]
    away = [number for number in order[: -SHOWN - 1 : -1] if thought[0, number] <= -LEAST]
    if not toward and not away:
        return {}
    return {
        "vectors": ranker.name,
        "evidence": int(belief.evidence),
        "toward": told(toward),
        "away": told(away),
    }
