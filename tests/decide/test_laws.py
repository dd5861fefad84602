"""What holds for every list, whatever the definitions, the person and the sources."""

from __future__ import annotations

from functools import cache
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, given, settings

from opportune.catalog.items import Catalog
from opportune.clock import DAY
from opportune.decide.pipeline import decide
from opportune.decide.placement import (
    Diversity,
    ExcludeBought,
    Filters,
    Names,
    Placement,
    Placements,
    PriceRange,
    Rule,
    Source,
)
from opportune.decide.replay import replay
from opportune.decide.request import DecideRequest
from opportune.decide.world import SessionView, World

NOW = 1_760_000_000_000
ITEMS = 40
IDS = st.sampled_from([f"i{k}" for k in range(ITEMS)] + ["unknown"])
CATEGORIES = st.sampled_from(["c0", "c1", "c2", "c3", "nothing"])
NUMBERS = st.lists(st.integers(-2, ITEMS + 2), unique=True, max_size=ITEMS)
SCORES = st.floats(allow_nan=True, allow_infinity=True, width=32)

FILTERS = st.builds(
    Filters,
    in_stock=st.booleans(),
    exclude_bought=st.none() | st.builds(ExcludeBought, window=st.sampled_from(["1d", "30d", "all"])),
    exclude_dismissed=st.booleans(),
    repeat=st.sampled_from(["allow", "never_current", "once"]),
    exclude_in_session=st.sampled_from([(), ("cart",), ("view", "buy")]),
    same_category=st.booleans(),
    allow=st.builds(Names, categories=st.sampled_from([(), ("c0", "c1")])),
    deny=st.builds(
        Names, items=st.lists(IDS, max_size=5).map(tuple), categories=st.sampled_from([(), ("c2",)])
    ),
    price=st.none() | st.just(PriceRange(3, 30)),
)
RULES = st.lists(
    st.builds(Rule, boost=st.floats(0.1, 10), where=st.just({"category": "c1"}))
    | st.builds(Rule, bury=st.just(True), where=st.just({"color": ("red", "green")}))
    | st.builds(Rule, pin=IDS, rank=st.integers(1, 6)),
    max_size=4,
    unique_by=lambda rule: rule.rank if rule.pin else id(rule),
).map(tuple)
PLACEMENT = st.builds(
    Placement,
    name=st.just("p"),
    count=st.integers(1, 12),
    sources=st.sampled_from([(Source("session_knn"), Source("content", 0.3)), (Source("content"),), ()]),
    pool=st.integers(1, 50),
    filters=FILTERS,
    rules=RULES,
    diversity=st.none()
    | st.builds(Diversity, by=st.sampled_from(["category", "brand"]), max_per=st.integers(1, 3))
    | st.builds(Diversity, by=st.sampled_from(["category", "brand"]), mmr=st.floats(0, 1)),
    fallbacks=st.sampled_from([(), ("popular", "default"), ("default",)]),
    default_items=st.lists(IDS, max_size=6).map(tuple),
)
PERSON = st.fixed_dictionaries(
    {
        "bought": st.dictionaries(IDS, st.integers(NOW - 60 * DAY, NOW), max_size=8),
        "dismissed": st.frozensets(IDS, max_size=5),
        "touches": st.lists(st.tuples(IDS, st.sampled_from(["view", "cart", "buy", "wish"])), max_size=8),
    }
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(1, 20),
        "candidates": st.lists(IDS, max_size=30),
        "exclude": st.lists(IDS, max_size=5),
        "context": st.fixed_dictionaries({}, optional={"item_id": IDS, "category": CATEGORIES}),
    },
)


@cache
def catalog_of(kit: Any) -> Catalog:
    """One catalogue for all examples: a decision changes nothing in it."""
    catalog: Catalog = kit.catalog(ITEMS)
    return catalog


def world_of(kit: Any, catalog: Catalog, placement: Placement, lists: Any) -> World:
    sources = kit.sources()
    for name, (numbers, scores) in zip(("session_knn", "content", "popular"), lists, strict=True):
        reason = sources[name].reason
        scores = (scores * (len(numbers) + 1))[: len(numbers)]
        sources[name] = kit.FixedSource(name, reason, numbers, scores, because=1)
    return World(catalog=catalog, sources=sources, placements=Placements([placement]), timer=kit.Timer())


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    placement=PLACEMENT,
    person=PERSON,
    request_=REQUEST,
    lists=st.tuples(*[st.tuples(NUMBERS, st.lists(SCORES, min_size=1, max_size=6))] * 3),
)
def test_every_list_keeps_its_promises(
    kit: Any, placement: Placement, person: Any, request_: dict[str, Any], lists: Any
) -> None:
    catalog = catalog_of(kit)
    world = world_of(kit, catalog, placement, lists)
    touches = tuple(
        kit.Touched(i, kind, NOW - 1_000 * (9 - at)) for at, (i, kind) in enumerate(person["touches"])
    )
    shopper = kit.Shopper(touches=touches, bought=person["bought"], dismissed=person["dismissed"])
    request = DecideRequest(placement="p", **request_)
    [(decision, record)] = decide(world, request, shopper, SessionView("s"), NOW)
    shown = [entry.item_id for entry in decision.items]
    numbers = [catalog.number(i) for i in shown]
    filters = placement.filters
    count = request.count or placement.count

    assert not [why for why in decision.degraded if "Error" in why], decision.degraded
    assert len(shown) <= count
    assert len(set(shown)) == len(shown)
    assert [entry.rank for entry in decision.items] == list(range(1, len(shown) + 1))
    assert -1 not in numbers
    if filters.in_stock:
        assert all(catalog.available[numbers])
    assert not set(shown) & set(filters.deny.items)
    assert not set(shown) & set(request.exclude)
    names = {catalog.category_names[catalog.category[n]] for n in numbers}
    assert not names & set(filters.deny.categories)
    if filters.allow.categories:
        assert names <= set(filters.allow.categories)
    if filters.price is not None:
        assert all(3 <= catalog.price[n] <= 30 for n in numbers)
    if filters.exclude_dismissed:
        assert not set(shown) & set(person["dismissed"])
    if filters.exclude_bought is not None:
        days = {"1d": 1, "30d": 30, "all": 10_000}[filters.exclude_bought.window]
        assert not set(shown) & {i for i, time in person["bought"].items() if time >= NOW - days * DAY}
    current = request.context.get("item_id")
    if filters.repeat != "allow":
        assert current not in shown
    if filters.repeat == "once":
        assert not set(shown) & {i for i, _ in person["touches"]}
    assert not set(shown) & {i for i, kind in person["touches"] if kind in filters.exclude_in_session}
    if request.candidates is not None:
        pins = {rule.pin for rule in placement.rules}
        assert set(shown) <= set(request.candidates) | pins

    pinned = [entry.item_id for entry in decision.items if entry.reasons[0].code == "pinned"]
    for rule in placement.rules:
        if rule.pin in pinned:
            at = shown.index(rule.pin) + 1
            assert (
                at == rule.rank
                or any(r.pin == rule.pin and r.rank == at for r in placement.rules)
                or (at < rule.rank and len(shown) < count)
            )
    diversity = placement.diversity
    if diversity is not None and diversity.max_per is not None:
        codes = catalog.column(diversity.by).codes
        free = [codes[catalog.number(i)] for i in shown if i not in pinned]
        held = [codes[catalog.number(i)] for i in pinned]
        for code in set(free):
            assert free.count(code) <= max(diversity.max_per - held.count(code), 0)

    assert record.candidates[: record.shown] == shown
    assert replay(world, record) == shown
    [(again, _)] = decide(world, request, shopper, SessionView("s"), NOW)
    assert [entry.item_id for entry in again.items] == shown
    assert [entry.score for entry in again.items] == [entry.score for entry in decision.items]
    msgspec.json.encode(decision)
    msgspec.msgpack.encode(record)


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    context=st.dictionaries(
        st.sampled_from(["page", "item_id", "product_id", "category", "search", "x"]), GARBAGE, max_size=4
    ),
    candidates=st.none() | st.lists(st.text(max_size=10) | IDS, max_size=10),
    session_id=st.text(max_size=30),
)
def test_any_context_is_answered(kit: Any, context: Any, candidates: Any, session_id: str) -> None:
    placement = Placement(name="p", sources=(Source("session_knn"),))
    world = world_of(kit, catalog_of(kit), placement, [([1, 2, 3], [1.0]), ([], [1.0]), ([], [1.0])])
    request = DecideRequest(placement="p", context=context, candidates=candidates, session_id=session_id)
    [(decision, record)] = decide(world, request, kit.Shopper(), SessionView(session_id), NOW)
    assert not [why for why in decision.degraded if "Error" in why], decision.degraded
    msgspec.msgpack.encode(record)
