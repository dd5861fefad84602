"""The policy stage: filters, rules, diversity and pins, over arrays of candidates, never of the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.columns import label
from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.candidates import Pool
from opportune.decide.diversity import marginal_relevance, within_cap
from opportune.decide.placement import Filters, Placement, Rule, window_ms
from opportune.decide.situation import Place, Session
from opportune.recommend.source import Floats, Items

Mask = npt.NDArray[np.bool_]
_EXAMPLES = 2
MAX_REST = 20
PERSONAL = frozenset(("bought", "dismissed", "in_session", "shown_elsewhere"))


class Known(msgspec.Struct, frozen=True):
    """What the filters hold the candidates against: the person, the session, the page, the request."""

    place: Place
    session: Session
    bought: Mapping[str, Millis]
    dismissed: Collection[str]
    exclude: Collection[str]
    elsewhere: Collection[int]
    now: Millis


class Verdict(msgspec.Struct):
    """``shown`` and ``rest`` index the pool, best first; ``score`` is parallel to the pool, after the rules.

    ``removed`` counts candidates by the filter that removed them, ``examples`` names item numbers for each;
    ``hidden`` has all the item numbers that were removed for what this person did or asked (the reasons of
    ``PERSONAL``), so that the choice can be replayed without the person. ``boosted`` counts the candidates
    that each rule moved; ``pinned`` are indices of the pool.
    """

    shown: list[int]
    rest: list[int]
    score: Floats
    removed: dict[str, int]
    examples: dict[str, list[int]]
    hidden: dict[str, list[int]]
    boosted: dict[str, int]
    pinned: frozenset[int]


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
    final, bury, boosted = _ruled(placement.rules, pool.item, score, catalog)
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


def reasons_of_rules(
    rules: tuple[Rule, ...], items: Items, shown: Collection[int], catalog: Catalog
) -> dict[int, str]:
    """Index in the pool -> what the first rule that lifted the candidate has to say."""
    said: dict[int, str] = {}
    at = np.array(sorted(shown), dtype=np.intp)
    for rule in rules:
        if not rule.reason or rule.bury or not len(at):
            continue
        hit = items[at] == catalog.number(rule.pin) if rule.pin else np.ones(len(at), dtype=np.bool_)
        for attribute, wanted in rule.where.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            hit &= _equal(items[at], attribute, values, catalog)
        for index in at[hit].tolist():
            said.setdefault(index, rule.reason)
    return said


def nothing_shown(score: Floats) -> Verdict:
    return Verdict([], [], score, {}, {}, {}, {}, frozenset())


def safe_choice(
    placement: Placement, pool: Pool, score: Floats, known: Known, catalog: Catalog, count: int
) -> Verdict:
    """What may be shown when the policy itself failed: the placement's own items, in its order, those that
    are in stock, not denied and not excluded by the request."""
    verdict = nothing_shown(score)
    refused = {*placement.filters.deny.items, *known.exclude}
    at = {number: i for i, number in enumerate(pool.item.tolist())}
    for item_id in placement.default_items:
        number = catalog.number(item_id)
        if number not in at or item_id in refused or number in known.elsewhere:
            continue
        if catalog.available[number] and len(verdict.shown) < count:
            verdict.shown.append(at.pop(number))
    return verdict


def _refused(
    filters: Filters, items: Items, known: Known, catalog: Catalog
) -> tuple[npt.NDArray[np.int8], list[str]]:
    """For each candidate 0, or 1 + the index of the reason why it may not be shown.

    The sets of items that may not be shown are marked in one table over item numbers, so that their size
    costs nothing per candidate; an empty table of n bytes is all that grows with the catalogue.
    """
    marks = np.zeros(len(catalog), dtype=np.int8)
    reasons: list[str] = []
    for reason, numbers in _refused_items(filters, items, known, catalog):
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


def _refused_items(
    filters: Filters, items: Items, known: Known, catalog: Catalog
) -> Iterable[tuple[str, Items | list[int]]]:
    """(reason, item numbers) of the filters that name items. Of two reasons the later is told."""
    if filters.exclude_bought is not None and known.bought:
        window = window_ms(filters.exclude_bought.window)
        yield "bought", _bought(items, known.bought, None if window is None else known.now - window, catalog)
    touched = known.session.touched
    if touched:
        if filters.repeat == "once":
            yield "in_session", list(touched)
        elif filters.exclude_in_session:
            kinds = filters.exclude_in_session
            numbers = [n for n, words in touched.items() if not words.isdisjoint(kinds)]
            if numbers:
                yield "in_session", numbers
    if known.elsewhere:
        yield "shown_elsewhere", list(known.elsewhere)
    if filters.exclude_dismissed and known.dismissed:
        yield "dismissed", catalog.numbers(known.dismissed)
    if known.exclude:
        yield "excluded", catalog.numbers(known.exclude)
    if filters.deny.items:
        yield "denied_item", catalog.numbers(filters.deny.items)
    if known.place.item >= 0 and filters.repeat != "allow":
        yield "current_item", [known.place.item]


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
            yield f"not_allowed_{attribute}", ~_equal(items, attribute, allowed, catalog)
        if denied:
            yield f"denied_{attribute}", _equal(items, attribute, denied, catalog)
    if filters.listed:
        yield "not_listed", ~catalog.listed[items]
    if filters.in_stock:
        yield "not_available", ~catalog.available[items]


_MANY_BOUGHT = 500


def _bought(
    items: Items, bought: Mapping[str, Millis], since: Millis | None, catalog: Catalog
) -> Items | list[int]:
    """Numbers of what was bought since then. For a long history only the candidates are looked up."""
    if len(bought) <= _MANY_BOUGHT:
        recent = bought if since is None else [i for i, time in bought.items() if time >= since]
        return catalog.numbers(recent)
    ids = catalog.ids
    least = 0 if since is None else since
    return [n for n in items.tolist() if bought.get(ids[n], -1) >= least]


def _equal(items: Items, attribute: str, values: Iterable[object], catalog: Catalog) -> Mask:
    """Which items have one of the values, by name or, for text, by its URL form."""
    column = catalog.column(attribute)
    codes = column.codes[items]
    found = np.zeros(len(items), dtype=np.bool_)
    for value in values:
        code = column.find(label(value))
        if code >= 0:
            found |= codes == code
    return found


def _ruled(
    rules: tuple[Rule, ...], items: Items, score: Floats, catalog: Catalog
) -> tuple[Floats, Mask | None, dict[str, int]]:
    """Scores after boosts, which candidates are buried, and how many each rule touched."""
    bury: Mask | None = None
    counts: dict[str, int] = {}
    final = score
    for rule in rules:
        if rule.pin:
            continue
        hit = np.ones(len(items), dtype=np.bool_)
        for attribute, wanted in rule.where.items():
            hit &= _equal(items, attribute, wanted if isinstance(wanted, tuple) else (wanted,), catalog)
        n = int(np.count_nonzero(hit))
        if not n:
            continue
        counts[rule.label] = n
        if rule.boost is not None:
            final = np.where(hit, final * np.float32(rule.boost), final)
        else:
            bury = hit if bury is None else bury | hit
    return final, bury, counts


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
