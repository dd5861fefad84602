"""A person is the combination of their leaves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.clock import HOUR, MINUTE
from opportune.events.event import Event, Line
from opportune.profiles.person import People, Person
from opportune.profiles.schema import ProfileSchema
from opportune.testing.folds import END, shop_events

SCHEMA = ProfileSchema.default()
NOW = 1_760_000_000_000
LEAVES = ("user_id:u1", "anonymous_id:a1", "anonymous_id:a2")


def view(item: str, time: int, **rest) -> Event:
    return Event(
        "track", "product_viewed", f"m{time}", "web", time, time, ("a:1",), lines=(Line(item),), **rest
    )


def leaf_of(*events: Event):
    leaf = SCHEMA.zero()
    for number, event in enumerate(events):
        SCHEMA.fold(leaf, event, number)
    return leaf


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    shop_events(max_size=25),
    st.lists(st.integers(0, 2), min_size=25, max_size=25),
    st.permutations([0, 1, 2]),
    st.sampled_from(("", "s1", "s2")),
)
def test_merging_leaves_is_folding_everything_into_one(events, owners, order, session_id):
    whole = Person(SCHEMA, LEAVES, [leaf_of(*events)])
    parts = [leaf_of(*[e for e, o in zip(events, owners, strict=False) if o == n]) for n in range(3)]
    merged = Person(SCHEMA, LEAVES, [parts[n] for n in order])
    nested = Person(SCHEMA, LEAVES, [SCHEMA.combine(parts[:2]), parts[2]])
    now = max([e.time for e in events], default=END) + MINUTE
    for person in (merged, nested):
        assert person.features(now) == whole.features(now)
        assert person.session(now, session_id) == whole.session(now, session_id)
        assert person.session_state(now, session_id) == whole.session_state(now, session_id)
        assert person.recent == whole.recent
        assert (person.bought, person.cart, person.dismissed) == (whole.bought, whole.cart, whole.dismissed)
        assert (person.traits, list(person.searches)) == (whole.traits, list(whole.searches))


def test_exposures_of_several_leaves_are_one_sequence():
    a, b = SCHEMA.zero(), SCHEMA.zero()
    SCHEMA.fold_decision(a, "d2", "home", NOW + 2, ["p1"], 2)
    SCHEMA.fold_decision(b, "d1", "home", NOW + 1, ["p2"], 1)
    SCHEMA.fold_decision(b, "d3", "cart", NOW + 3, ["p3"], 3)
    person = Person(SCHEMA, LEAVES[:2], [a, b])
    assert [(e.decision_id, e.item_ids) for e in person.exposures] == [
        ("d1", ("p2",)),
        ("d2", ("p1",)),
        ("d3", ("p3",)),
    ]


def test_login_brings_the_session_along():
    anonymous = leaf_of(view("p1", NOW), view("p2", NOW + MINUTE))
    known = leaf_of(view("old", NOW - HOUR), view("p3", NOW + 2 * MINUTE))
    person = Person(SCHEMA, LEAVES[:2], [known, anonymous])
    assert [t.item_id for t in person.session(NOW + 3 * MINUTE)] == ["p1", "p2", "p3"]
    assert person.features(NOW + 3 * MINUTE)["views_1d"] == 4


def test_one_leaf_is_read_without_copying_and_sees_the_next_event():
    leaf = leaf_of(view("p1", NOW))
    person = Person(SCHEMA, LEAVES[:2], [leaf, SCHEMA.zero()])
    assert person.leaf is leaf
    assert person.features(NOW)["views_5m"] == 1
    SCHEMA.fold(leaf, view("p2", NOW), 5)
    assert person.features(NOW)["views_5m"] == 2
    assert [t.item_id for t in person.recent] == ["p1", "p2"]


def test_nobody():
    person = Person(SCHEMA, (), [SCHEMA.zero()])
    assert not person.known
    assert person.session(NOW) == [] == person.recent
    assert person.session_state(NOW).intent == "none"
    assert person.features(NOW)["views_30d"] == 0
    assert person.features(NOW)["order_recency"] is None
    assert Person(SCHEMA, (), []).traits == {}


def test_withdrawn_traits_are_hidden():
    said = [
        Event("identify", "identify", f"m{n}", "web", NOW + n, NOW + n, ("user_id:u1",), traits=traits)
        for n, traits in enumerate(({"name": "Ada", "plan": "gold"}, {"name": None}))
    ]
    assert Person(SCHEMA, LEAVES[:1], [leaf_of(*said)]).traits == {"plan": "gold"}


def test_what_was_bought_is_bounded_for_whoever_reads_it():
    orders = [
        Event(
            "track", "order_completed", f"m{n}", "web", NOW + n, NOW + n, ("a:1",),
            lines=tuple(Line(f"p{n}-{i}") for i in range(6)),
        )
        for n in range(100)
    ]  # fmt: skip
    for events in (orders, orders[::-1]):
        leaf = leaf_of(*events)
        assert len(leaf.bought) == 600
        for leaves in ([leaf_of(*events)], [leaf, leaf_of(view("p1", NOW))]):
            bought = Person(SCHEMA, LEAVES[:2], leaves).bought
            # 83 orders of six lines, and the two greatest item ids of the order before them.
            assert len(bought) == 500 == 83 * 6 + 2
            assert {"p16-4", "p16-5", "p17-0"} <= set(bought)
            assert "p16-3" not in bought


def test_people_remembers_until_a_leaf_changes():
    a, b = leaf_of(view("p1", NOW)), leaf_of(view("p2", NOW))
    people = People(SCHEMA, capacity=2)
    first = people.get(LEAVES[:2], [a, b])
    assert people.get(LEAVES[:2], [a, b]) is first
    SCHEMA.fold(a, view("p3", NOW), 9)
    second = people.get(LEAVES[:2], [a, b])
    assert second is not first
    assert [t.item_id for t in second.recent] == ["p1", "p2", "p3"]
    for other in ("x", "y"):
        people.get((other, "z"), [a, b])
    assert len(people) == 2
    assert people.get(LEAVES[:2], [a, b]) is not second


def test_people_does_not_remember_somebody_of_one_leaf():
    people = People(SCHEMA)
    leaf = leaf_of(view("p1", NOW))
    assert people.get(LEAVES[:2], [SCHEMA.zero(), leaf]).leaf is leaf
    assert len(people) == 0
