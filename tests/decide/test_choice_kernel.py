"""The kernel of the policy stage against its reference in numpy, and the warm-up that loads it."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from opportune.catalog.items import Catalog
from opportune.decide import choice_kernel, policy, policy_reference
from opportune.decide.candidates import Pool, empty_pool
from opportune.decide.placement import (
    Diversity,
    ExcludeBought,
    Filters,
    Names,
    Placement,
    PriceRange,
    Rule,
    Source,
)
from opportune.decide.policy import Known
from opportune.decide.situation import NO_SESSION, Place, Session
from opportune.decide.warm_up import warm_up
from opportune.recommend.source import Candidates

NOW = 1_760_000_000_000
ITEMS = 30


def shop() -> Catalog:
    catalog = Catalog()
    for k in range(ITEMS):
        about: dict[str, Any] = {"available": k % 10 != 9, "brand": f"b{k % 3}"}
        if k % 7:
            about |= {"price": k, "category": f"c{k % 4}"}
        catalog.upsert(f"i{k}", about, 1_000, rank=0 if k % 5 == 1 else 1)
    return catalog


CATALOG = shop()
IDS = st.integers(0, ITEMS + 2).map(lambda k: f"i{k}")
SOME_IDS = st.lists(IDS, max_size=6).map(tuple)
SOME_NAMES = st.builds(
    Names,
    items=st.one_of(st.just(()), SOME_IDS),
    categories=st.lists(st.sampled_from(("c0", "c1", "nothing")), max_size=2).map(tuple),
    brands=st.lists(st.sampled_from(("b0", "b2")), max_size=2).map(tuple),
)
NO_NAMES = st.just(Names())
FILTERS = st.builds(
    Filters,
    in_stock=st.booleans(),
    listed=st.booleans(),
    exclude_bought=st.sampled_from((None, ExcludeBought("all"), ExcludeBought("1d"))),
    exclude_dismissed=st.booleans(),
    repeat=st.sampled_from(("allow", "never_current", "once")),
    exclude_in_session=st.sampled_from(((), ("cart",), ("view", "buy"))),
    same_category=st.booleans(),
    allow=st.one_of(NO_NAMES, NO_NAMES, SOME_NAMES),
    deny=st.one_of(NO_NAMES, SOME_NAMES),
    price=st.sampled_from((None, PriceRange(3, 20), PriceRange(5))),
)
RULES = st.lists(
    st.one_of(
        st.builds(Rule, boost=st.sampled_from((0.5, 3.0)), where=st.just({"brand": "b1"})),
        st.builds(Rule, bury=st.just(True), where=st.just({"category": "c2"})),
    ),
    max_size=2,
)
PINS = st.lists(st.tuples(st.integers(1, 9), IDS), max_size=3, unique_by=lambda pin: pin[0])
DIVERSITY = st.one_of(
    st.none(),
    st.builds(Diversity, by=st.sampled_from(("category", "brand")), max_per=st.integers(1, 3)),
    st.builds(Diversity, by=st.just("category"), mmr=st.sampled_from((0.0, 0.3, 0.7, 1.0))),
)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    pins = [Rule(pin=item, rank=rank) for rank, item in draw(PINS)]
    return Placement(
        name="p",
        sources=(Source("content"),),
        filters=draw(FILTERS),
        rules=(*draw(RULES), *pins),
        diversity=draw(DIVERSITY),
    )


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    item = draw(st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS))
    n = len(item)
    pool = empty_pool(Placement(name="p"))
    pool.item = np.array(item, np.int32)
    score = draw(st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), min_size=n, max_size=n))
    pool.score = np.array(score, np.float32)
    if draw(st.booleans()):
        pool.score = np.sort(pool.score)[::-1].copy()
    pool.tier = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int8)
    if draw(st.booleans()):
        pool.tier.sort()
    return pool


@st.composite
def situations(draw: st.DrawFn) -> Known:
    numbers = st.integers(0, ITEMS - 1)
    words = st.sets(st.sampled_from(("view", "cart", "buy")), min_size=1)
    touched = draw(st.dictionaries(numbers, words, max_size=4))
    times = st.sampled_from((NOW - 1_000, NOW - 3 * 86_400_000))
    return Known(
        place=Place(draw(st.integers(-1, ITEMS - 1)), draw(st.integers(-1, 3))),
        session=Session(NO_SESSION.item, NO_SESSION.kind, NO_SESSION.age_s, touched),
        bought=draw(st.dictionaries(IDS, times, max_size=4)),
        dismissed=draw(SOME_IDS),
        exclude=draw(SOME_IDS),
        elsewhere=draw(st.sets(numbers, max_size=4)),
        now=NOW,
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(placements(), pools(), situations(), st.integers(1, 9))
def test_the_kernel_chooses_as_the_reference(
    placement: Placement, pool: Pool, known: Known, count: int
) -> None:
    expected = policy_reference.choose(placement, pool, pool.score, known, CATALOG, count)
    verdict = policy.choose(placement, pool, pool.score, known, CATALOG, count)
    assert verdict.shown == expected.shown
    assert verdict.rest == expected.rest
    assert verdict.score.tolist() == expected.score.tolist()
    assert verdict.removed == expected.removed
    assert verdict.examples == expected.examples
    assert verdict.hidden == expected.hidden
    assert verdict.boosted == expected.boosted
    assert verdict.pinned == expected.pinned


def just(*items: int) -> Candidates:
    n = len(items)
    return Candidates(np.array(items, np.int32), np.ones(n, np.float32), np.full(n, -1, np.int32))


def test_after_warming_up_nothing_is_compiled() -> None:
    warm_up()
    loaded = len(choice_kernel.choose_into.signatures)
    assert loaded
    pool = empty_pool(Placement(name="p"))
    pool.add("default", just(3, 9, 4), 1)
    known = Known(Place(4, 1), NO_SESSION, {"i3": 1}, ("i1",), ("i2",), {5}, NOW)
    strict = Filters(listed=True, same_category=True, deny=Names(brands=("b1",)), price=PriceRange(1))
    rules = (Rule(pin="i3"), Rule(bury=True, where={"brand": "b0"}))
    for placement in (
        Placement(name="p", filters=strict, rules=rules, diversity=Diversity(max_per=1)),
        Placement(name="p", diversity=Diversity(by="brand", mmr=0.5)),
    ):
        policy.choose(placement, pool, pool.score, known, CATALOG, 2)
    assert len(choice_kernel.choose_into.signatures) == loaded
