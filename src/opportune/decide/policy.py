"""The policy stage: filters, rules, diversity and pins, over arrays of candidates, never of the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
import numpy as np

from opportune.catalog.columns import label
from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.candidates import Pool
from opportune.decide.choice_kernel import (
    CODE_OF,
    COUNTS,
    CUT,
    HEAD,
    MAX_REST,
    REASONS,
    REST,
    SHOWN,
    Codes,
    Mask,
    choose_into,
)
from opportune.decide.placement import Filters, Names, Placement, Rule, window_ms
from opportune.decide.situation import Place, Session
from opportune.recommend.source import Floats, Items

_EXAMPLES = 2
_NO_MASK = np.zeros(0, np.bool_)
_NO_CODES = np.zeros(0, np.int8)
_NO_ITEMS = np.zeros(0, np.int32)
_NO_PINS: frozenset[int] = frozenset()
_EMPTY = Names()
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
    """The list to show: unique, allowed, at most ``count``. O(pool log pool); about 12 us.

    A pin stands at its rank when it passes the filters and enough else is shown; pins count towards a
    diversity cap but are not stopped by it.
    """
    filters, diversity, items = placement.filters, placement.diversity, pool.item
    n = len(items)
    named: list[int] = []
    codes: list[int] = []
    for reason, numbers in refused_items(filters, items, known, catalog):
        named += numbers
        codes += [CODE_OF[reason]] * len(numbers)
    final, bury, boosted = ruled(placement.rules, items, score, catalog)
    pins = [rule for rule in placement.rules if rule.pin and rule.rank <= count]
    out = np.empty(HEAD + count + MAX_REST + n + len(pins), np.int32)
    price = filters.price
    choose_into(
        items,
        final,
        pool.tier,
        _NO_MASK if bury is None else bury,
        _masked(filters, items, catalog),
        np.array(named, np.int32) if named else _NO_ITEMS,
        np.array(codes, np.int8) if named else _NO_CODES,
        catalog.available if filters.in_stock else _NO_MASK,
        catalog.listed if filters.listed else _NO_MASK,
        catalog.price,
        catalog.category,
        _NO_ITEMS if diversity is None else catalog.column(diversity.by).codes,
        1.0 if price is None else price.min,
        0.0 if price is None else price.max,
        known.place.category if filters.same_category else -1,
        (diversity.max_per or 0) if diversity is not None else 0,
        diversity.mmr if diversity is not None and diversity.mmr is not None else -1.0,
        count,
        np.array([catalog.number(rule.pin) for rule in pins], np.int32) if pins else _NO_ITEMS,
        out,
    )
    gone = HEAD + count + MAX_REST
    told = out[:gone].tolist()
    shown = told[HEAD : HEAD + told[SHOWN]]
    rest = told[HEAD + count : HEAD + count + told[REST]]
    pin_at: dict[int, int] = {}
    if pins:
        places = zip(pins, out[gone + n :].tolist(), strict=True)
        pin_at = {rule.rank: at for rule, at in places if at >= 0}
        for at in sorted(pin_at):
            shown.insert(at - 1, pin_at[at])
    removed, examples, hidden = _accounted(told[COUNTS:HEAD], out[gone : gone + n], items)
    if told[CUT]:
        removed["diversity"] = told[CUT]
    return Verdict(
        shown,
        rest,
        final,
        removed,
        examples,
        hidden,
        boosted,
        frozenset(pin_at.values()) if pin_at else _NO_PINS,
    )


def reasons_of_rules(
    rules: tuple[Rule, ...], items: Items, shown: Collection[int], catalog: Catalog
) -> dict[int, str]:
    """Index in the pool -> what the first rule that lifted the candidate has to say."""
    said: dict[int, str] = {}
    if not rules or not any(rule.reason for rule in rules):
        return said
    at = np.array(sorted(shown), dtype=np.intp)
    for rule in rules:
        if not rule.reason or rule.bury or not len(at):
            continue
        hit = items[at] == catalog.number(rule.pin) if rule.pin else np.ones(len(at), dtype=np.bool_)
        for attribute, wanted in rule.where.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            hit &= equal(items[at], attribute, values, catalog)
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


def _accounted(
    counts: list[int], gone: Items, items: Items
) -> tuple[dict[str, int], dict[str, list[int]], dict[str, list[int]]]:
    """Counts by reason, examples, and all of what was removed for the person's sake. ``gone`` are the refused
    in the order of their reasons."""
    removed: dict[str, int] = {}
    examples: dict[str, list[int]] = {}
    hidden: dict[str, list[int]] = {}
    at = 0
    if not any(counts[1:]):
        return removed, examples, hidden
    refused = items[gone[: sum(counts) - counts[0]]].tolist()
    for code, count in enumerate(counts):
        if count and code:
            reason = REASONS[code - 1]
            removed[reason] = count
            kept = count if reason in PERSONAL else min(count, _EXAMPLES)
            numbers: list[int] = refused[at : at + kept]
            if reason in PERSONAL:
                hidden[reason] = numbers
            else:
                examples[reason] = numbers
            at += count
    return removed, examples, hidden


def refused_items(
    filters: Filters, items: Items, known: Known, catalog: Catalog
) -> Iterable[tuple[str, list[int]]]:
    """(reason, item numbers) of the filters that name items."""
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
        yield "dismissed", catalog.numbers(known.dismissed).tolist()
    if known.exclude:
        yield "excluded", catalog.numbers(known.exclude).tolist()
    if filters.deny.items:
        yield "denied_item", catalog.numbers(filters.deny.items).tolist()
    if known.place.item >= 0 and filters.repeat != "allow":
        yield "current_item", [known.place.item]


def _masked(filters: Filters, items: Items, catalog: Catalog) -> Codes:
    """The code of the last allow or deny list by attribute that refuses each candidate; empty without any."""
    allow, deny = filters.allow, filters.deny
    if allow == _EMPTY and deny == _EMPTY:
        return _NO_CODES
    masked = np.zeros(len(items), np.int8)
    if allow.items:
        masked[~np.isin(items, catalog.numbers(allow.items))] = CODE_OF["not_allowed_item"]
    for attribute, allowed, denied in (
        ("category", allow.categories, deny.categories),
        ("brand", allow.brands, deny.brands),
    ):
        if allowed:
            masked[~equal(items, attribute, allowed, catalog)] = CODE_OF[f"not_allowed_{attribute}"]
        if denied:
            masked[equal(items, attribute, denied, catalog)] = CODE_OF[f"denied_{attribute}"]
    return masked


_MANY_BOUGHT = 500


def _bought(items: Items, bought: Mapping[str, Millis], since: Millis | None, catalog: Catalog) -> list[int]:
    """Numbers of what was bought since then. For a long history only the candidates are looked up."""
    if len(bought) <= _MANY_BOUGHT:
        recent = bought if since is None else [i for i, time in bought.items() if time >= since]
        numbers: list[int] = catalog.numbers(recent).tolist()
        return numbers
    ids = catalog.ids
    least = 0 if since is None else since
    return [n for n in items.tolist() if bought.get(ids[n], -1) >= least]


def equal(items: Items, attribute: str, values: Iterable[object], catalog: Catalog) -> Mask:
    """Which items have one of the values, by name or, for text, by its URL form."""
    column = catalog.column(attribute)
    codes = column.codes[items]
    found = np.zeros(len(items), dtype=np.bool_)
    for value in values:
        code = column.find(label(value))
        if code >= 0:
            found |= codes == code
    return found


def ruled(
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
            hit &= equal(items, attribute, wanted if isinstance(wanted, tuple) else (wanted,), catalog)
        n = int(np.count_nonzero(hit))
        if not n:
            continue
        counts[rule.label] = n
        if rule.boost is not None:
            final = np.where(hit, final * np.float32(rule.boost), final)
        else:
            bury = hit if bury is None else bury | hit
    return final, bury, counts
