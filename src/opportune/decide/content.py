"""The content stage: the chosen candidates as people see them, ranked, with reasons."""

from __future__ import annotations

from opportune.catalog.items import Catalog
from opportune.decide.candidates import Pool
from opportune.decide.policy import Verdict
from opportune.decide.reasons import Speaker
from opportune.decide.request import RankedItem


def dress(pool: Pool, verdict: Verdict, speaker: Speaker, catalog: Catalog) -> list[RankedItem]:
    """The shown items in order; the item's public JSON comes ready from the catalogue. O(shown)."""
    return [
        RankedItem(
            item_id=catalog.ids[number],
            rank=position,
            score=score,
            reasons=speaker.reasons(pool, at, pinned=at in verdict.pinned),
            item=catalog.public(number),
        )
        for position, (at, number, score) in enumerate(
            zip(
                verdict.shown,
                pool.item[verdict.shown].tolist(),
                verdict.score[verdict.shown].astype(float).round(6).tolist(),
                strict=True,
            ),
            start=1,
        )
    ]


def bare(pool: Pool, verdict: Verdict, catalog: Catalog) -> list[RankedItem]:
    """The shown items with nothing but their ids, for when dressing them failed."""
    ids = [catalog.ids[number] for number in pool.item[verdict.shown].tolist()]
    return [RankedItem(item_id, rank, 0.0, [], {"item_id": item_id}) for rank, item_id in enumerate(ids, 1)]
