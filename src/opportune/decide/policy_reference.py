"""The policy stage in plain numpy: the reference that ``choice_kernel.py`` is held to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.decide.candidates import Pool
from opportune.decide.choice_kernel import MAX_REST, Mask
from opportune.decide.diversity import marginal_relevance, within_cap
from opportune.decide.placement import Filters, Placement, Rule
from opportune.decide.policy import PERSONAL, Known, Verdict, equal, refused_items, ruled
from opportune.recommend.source import Floats, Items

_EXAMPLES = 2


def choose(
    placement: Placement, pool: Pool, score: Floats, known: Known, catalog: Catalog, count: int
) -> Verdict:
    """The list to show: unique, allowed, at most ``count``. O(pool log pool).

    A pin stands at its rank when it passes the filters and enough else is shown; pins count towards a
    diversity cap but are not stopped by it.
    """
    refused, reasons = _refused(placement.filters, pool.item, known, catalog)
    keep = refused == 0
    removed, examples, hidden = _accounted(refused, reasons, pool.item)
    final, bury, boosted = ruled(placement.rules, pool.item, score, catalog)
    pins = _pins(placement.rules, pool.item, keep, catalog, count)
    order = _ordered(keep, final, pool.tier, bury)
    shown, cut = _diverse(placement, order, final, pool.item, catalog, count, list(pins.values()))
    if cut:
        removed["diversity"] = cut
    for at in sorted(pins):
        shown.insert(at - 1, pins[at])
    taken = set(shown)
    rest = [i for i in order[: count + MAX_REST].tolist() if i not in taken][:MAX_REST]
    return Verdict(shown, rest, final, removed, examples, hidden, boosted, frozenset(pins.values()))


def _refused(
    filters: Filters, items: Items, known: Known, catalog: Catalog
) -> tuple[npt.NDArray[np.int8], list[str]]:
    """For each candidate 0, or 1 + the index of the reason why it may not be shown.

    The sets of items that may not be shown are marked in one table over item numbers, so that their size
    costs nothing per candidate; an empty table of n bytes is all that grows with the catalogue.
    """
    marks = np.zeros(len(catalog), dtype=np.int8)
    reasons: list[str] = []
    for reason, numbers in refused_items(filters, items, known, catalog):
        reasons.append(reason)
        marks[numbers] = len(reasons)
    refused = marks[items]
    for reason, bad in _refused_kinds(filters, items, known, catalog):
        reasons.append(reason)
        refused[bad] = len(reasons)
    return refused, reasons


def _accounted(
    refused: npt.NDArray[np.int8], reasons: list[str], items: Items
) -> tuple[dict[str, int], dict[str, list[int]], dict[str, list[int]]]:
    """Counts by reason, examples, and all of what was removed for the person's sake."""
    removed: dict[str, int] = {}
    examples: dict[str, list[int]] = {}
    hidden: dict[str, list[int]] = {}
    counts = np.bincount(refused, minlength=1).tolist()
    for at, count in enumerate(counts[1:], start=1):
        if count:
            reason = reasons[at - 1]
            gone = items[refused == at].tolist()
            removed[reason] = count
            if reason in PERSONAL:
                hidden[reason] = gone
            else:
                examples[reason] = gone[:_EXAMPLES]
    return removed, examples, hidden


def _refused_kinds(
    filters: Filters, items: Items, known: Known, catalog: Catalog
) -> Iterable[tuple[str, Mask]]:
    """(reason, which candidates) of the filters that look at what an item is."""
    if filters.price is not None:
        price = catalog.price[items]
        yield "price", ~((price >= filters.price.min) & (price <= filters.price.max))
    if filters.same_category and known.place.category >= 0:
        yield "other_category", catalog.category[items] != known.place.category
    if filters.allow.items:
        yield "not_allowed_item", ~np.isin(items, catalog.numbers(filters.allow.items))
    for attribute, allowed, denied in (
        ("category", filters.allow.categories, filters.deny.categories),
        ("brand", filters.allow.brands, filters.deny.brands),
    ):
        if allowed:
            yield f"not_allowed_{attribute}", ~equal(items, attribute, allowed, catalog)
        if denied:
            yield f"denied_{attribute}", equal(items, attribute, denied, catalog)
    if filters.listed:
        yield "not_listed", ~catalog.listed[items]
    if filters.in_stock:
        yield "not_available", ~catalog.available[items]


def _pins(rules: tuple[Rule, ...], items: Items, keep: Mask, catalog: Catalog, count: int) -> dict[int, int]:
    """Rank -> index in the pool, for the pins that passed the filters and fit in the list."""
    pins: dict[int, int] = {}
    for rule in rules:
        if rule.pin and rule.rank <= count:
            at = np.flatnonzero((items == catalog.number(rule.pin)) & keep)
            if len(at) and int(at[0]) not in pins.values():
                pins[rule.rank] = int(at[0])
    return pins


def _ordered(
    keep: Mask, score: Floats, tier: npt.NDArray[np.int8], bury: Mask | None
) -> npt.NDArray[np.intp]:
    """Indices of the kept, best first: the sources' before the fallbacks', buried last, ties as they were."""
    kept = keep.nonzero()[0]
    if bury is None and not tier.any():
        return kept[(-score[kept]).argsort(kind="stable")]
    last = tier[kept] if bury is None else tier[kept] + np.int8(64) * bury[kept]
    return kept[np.lexsort((-score[kept], last))]


def _diverse(
    placement: Placement,
    order: npt.NDArray[np.intp],
    score: Floats,
    items: Items,
    catalog: Catalog,
    count: int,
    pinned: list[int],
) -> tuple[list[int], int]:
    """What to show besides the pins, and how many the cap kept out from among the best."""
    if pinned:
        order = order[~np.isin(order, pinned)]
    places = count - len(pinned)
    diversity = placement.diversity
    if diversity is None:
        return order[:places].tolist(), 0
    codes = catalog.column(diversity.by).codes
    if diversity.max_per is not None:
        shown = codes[items[pinned]].tolist() if pinned else []
        picked = within_cap(codes[items[order]], diversity.max_per, places, shown)
        looked_at = len(order) if len(picked) < places else max(picked, default=-1) + 1
        return order[picked].tolist(), looked_at - len(picked)
    assert diversity.mmr is not None  # the definition has either
    best = marginal_relevance(score[order], codes[items[order]], places, diversity.mmr)
    return order[best].tolist(), 0
