"""Reads from a journal what was shown to people and what they clicked."""

from __future__ import annotations

from collections.abc import Iterable

from opportune.catalog.items import Catalog
from opportune.decide.attribution import outcomes_of
from opportune.decide.request import DecisionRecord
from opportune.engine.entries import Entry
from opportune.events.event import Event
from opportune.learn.impressions import Shown
from opportune.privacy.sealing import Erased
from opportune.recommend.past import past_of

CLICKS = frozenset({"view", "cart", "buy"})


def shown_lists(
    entries: Iterable[tuple[int, Entry | Erased]], catalog: Catalog, placement: str
) -> list[Shown]:
    """The decisions of a placement whose list was acted on, in order of time. A click is any attributed view,
    cart addition or purchase of a shown item."""
    records: dict[str, DecisionRecord] = {}
    clicked: dict[str, set[str]] = {}
    for _, entry in entries:
        if isinstance(entry, DecisionRecord):
            if entry.placement == placement and entry.shown > 1 and entry.inputs.get("session"):
                records[entry.decision_id] = entry
        elif isinstance(entry, Event) and entry.decision_id in records:
            acted = {o.item_id for o in outcomes_of(entry) if o.kind in CLICKS}
            if acted:
                clicked.setdefault(entry.decision_id, set()).update(acted)
    found = []
    for decision_id, acted in clicked.items():
        record = records[decision_id]
        session = _numbers(catalog, record.inputs["session"])
        found.append(
            Shown(
                record.time,
                session,
                tuple(record.inputs.get("kinds", b"")),
                tuple(age / 1000 for age in record.inputs.get("ages_ms", ())),
                _numbers(catalog, record.candidates[: record.shown]),
                frozenset(_numbers(catalog, sorted(acted))),
                past_of(record.features, catalog.number, record.time),
            )
        )
    return sorted(found, key=lambda one: one.time)


def _numbers(catalog: Catalog, item_ids: list[str]) -> tuple[int, ...]:
    return tuple([catalog.number(item_id) for item_id in item_ids])
