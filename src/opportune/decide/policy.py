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
from opportune.decide.placement import Filters, Names, Placement, Rule, window_ms
from opportune.decide.situation import Place, Session
from opportune.recommend.source import Floats, Items

Mask = npt.NDArray[np.bool_]
_EXAMPLES = 2
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
    removed: dict[str, int] = {}
    examples: dict[str, list[int]] = {}
    hidden: dict[str, list[int]] = {}
    keep = np.ones(len(pool), dtype=np.bool_)
    for reason, bad in _refusals(placement.filters, pool.item, known, catalog):
        bad &= keep
        n = int(np.count_nonzero(bad))
        if n:
            removed[reason] = n
            gone = pool.item[np.flatnonzero(bad)].tolist()
            if reason in PERSONAL:
                hidden[reason] = gone
            else:
                examples[reason] = gone[:_EXAMPLES]
            keep &= ~bad
    final, bury, boosted = _ruled(placement.rules, pool.item, score, catalog)
    pins = _pins(placement.rules, pool.item, keep, catalog, count)
    order = _ordered(keep, final, pool.tier, bury)
    shown, cut = _diverse(placement, order, final, pool.item, catalog, count, list(pins.values()))
    if cut:
        removed["diversity"] = cut
    for at in sorted(pins):
        shown.insert(at - 1, pins[at])
    taken = set(shown)
    rest = [i for i in order[: count + 50].tolist() if i not in taken]
    return Verdict(shown, rest, final, removed, examples, hidden, boosted, frozenset(pins.values()))


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


def _refusals(filters: Filters, items: Items, known: Known, catalog: Catalog) -> Iterable[tuple[str, Mask]]:
    """(reason, which candidates it removes), for the filters that can remove anything."""
    if filters.in_stock:
        yield "not_available", ~catalog.available[items]
    if filters.listed:
        yield "not_listed", ~catalog.listed[items]
    if known.place.item >= 0 and filters.repeat != "allow":
        yield "current_item", items == known.place.item
    if known.exclude:
        yield "excluded", _among(items, catalog.numbers(known.exclude))
    if known.elsewhere:
        yield "shown_elsewhere", _among(items, np.fromiter(known.elsewhere, np.int32))
    touched = known.session.touched
    if touched:
        if filters.repeat == "once":
            yield "in_session", _among(items, np.fromiter(touched, np.int32))
        elif filters.exclude_in_session:
            kinds = set(filters.exclude_in_session)
            numbers = [number for number, words in touched.items() if not kinds.isdisjoint(words)]
            if numbers:
                yield "in_session", _among(items, np.array(numbers, dtype=np.int32))
    if filters.exclude_bought is not None and known.bought:
        window = window_ms(filters.exclude_bought.window)
        since = None if window is None else known.now - window
        yield "bought", _bought(items, known.bought, since, catalog)
    if filters.exclude_dismissed and known.dismissed:
        yield "dismissed", _mentioned(items, known.dismissed, catalog)
    if filters.same_category and known.place.category >= 0:
        yield "other_category", catalog.category[items] != known.place.category
    yield from _named(filters, items, catalog)
    if filters.price is not None:
        price = catalog.price[items]
        yield "price", ~((price >= filters.price.min) & (price <= filters.price.max))


def _named(filters: Filters, items: Items, catalog: Catalog) -> Iterable[tuple[str, Mask]]:
    for what, allowed in (("not_allowed", True), ("denied", False)):
        names: Names = filters.allow if allowed else filters.deny
        if names.items:
            among = _among(items, catalog.numbers(names.items))
            yield f"{what}_item", ~among if allowed else among
        for attribute, values in (("category", names.categories), ("brand", names.brands)):
            if values:
                among = _equal(items, attribute, values, catalog)
                yield f"{what}_{attribute}", ~among if allowed else among


def _among(items: Items, numbers: Items) -> Mask:
    """Which items are in ``numbers``. A comparison table beats sorting while it is small."""
    if len(numbers) * len(items) <= 4_096:
        return np.asarray((items[:, None] == numbers).any(axis=1))
    return np.isin(items, numbers)


def _mentioned(items: Items, item_ids: Collection[str], catalog: Catalog) -> Mask:
    """Which items are named by ``item_ids``; looks up the shorter of the two sides."""
    if len(item_ids) <= len(items):
        return _among(items, catalog.numbers(item_ids))
    ids = catalog.ids
    return np.fromiter((ids[i] in item_ids for i in items.tolist()), np.bool_, len(items))


def _bought(items: Items, bought: Mapping[str, Millis], since: Millis | None, catalog: Catalog) -> Mask:
    if len(bought) <= len(items):
        recent = bought if since is None else [i for i, time in bought.items() if time >= since]
        return _among(items, catalog.numbers(recent))
    ids = catalog.ids
    never = -1 if since is None else since - 1
    least = 0 if since is None else since
    return np.fromiter((bought.get(ids[i], never) >= least for i in items.tolist()), np.bool_, len(items))


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
    kept = np.flatnonzero(keep)
    if bury is None and not tier.any():
        return kept[np.argsort(-score[kept], kind="stable")]
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
        led = np.concatenate((np.array(pinned, dtype=np.intp), order)) if pinned else order
        stays = within_cap(codes[items[led]], diversity.max_per)[len(pinned) :]
        picked = np.flatnonzero(stays)[:places]
        passed_over = int(picked[-1]) + 1 - len(picked) if len(picked) else int(np.count_nonzero(~stays))
        return order[picked].tolist(), passed_over
    assert diversity.mmr is not None  # the definition has either
    best = marginal_relevance(score[order], codes[items[order]], places, diversity.mmr)
    return order[best].tolist(), 0
