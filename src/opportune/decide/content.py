"""The content stage: the chosen candidates as people see them, ranked, with reasons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from opportune.catalog.items import Catalog
from opportune.decide.candidates import Pool
from opportune.decide.policy import Verdict
from opportune.decide.reasons import Speaker
from opportune.decide.request import RankedItem, Reason

MAX_REASONS = 2
_NOTHING: Mapping[int, str] = {}


def dress(
    pool: Pool, verdict: Verdict, speaker: Speaker, catalog: Catalog, said: Mapping[int, str] = _NOTHING
) -> list[RankedItem]:
    """The shown items in order; the item's public JSON comes ready from the catalogue. ``said`` is what rules
    say of candidates, by their index in the pool. O(shown)."""
    shown = verdict.shown
    at = np.array(shown, dtype=np.intp)
    numbers = pool.item[at].tolist()
    scores = verdict.score[at].tolist()
    sources = pool.sources[at].tolist()
    because = pool.because[at].tolist()
    ids, public = catalog.ids, catalog.public
    if not verdict.pinned and not said:
        reasons = speaker.reasons
        return [
            RankedItem(ids[number], rank, round(score, 6), reasons(source, why), public(number))
            for rank, number, score, source, why in zip(
                range(1, len(numbers) + 1), numbers, scores, sources, because, strict=True
            )
        ]
    items = []
    for i, number in enumerate(numbers):
        told = speaker.pinned() if shown[i] in verdict.pinned else speaker.reasons(sources[i], because[i])
        if shown[i] in said:
            told = [Reason("rule", said[shown[i]]), *told][:MAX_REASONS]
        items.append(RankedItem(ids[number], i + 1, round(scores[i], 6), told, public(number)))
    return items


def bare(pool: Pool, verdict: Verdict, catalog: Catalog) -> list[RankedItem]:
    """The shown items with nothing but their ids, for when dressing them failed."""
    ids = [catalog.ids[number] for number in pool.item[verdict.shown].tolist()]
    return [RankedItem(item_id, rank, 0.0, [], {"item_id": item_id}) for rank, item_id in enumerate(ids, 1)]
