"""What events do to a leaf: values, conditions, recent lists, bounds, bytes, changed definitions."""

from __future__ import annotations

import random

import pytest

from opportune.clock import DAY, HOUR, MINUTE
from opportune.errors import Corrupt
from opportune.events.event import Event, Line
from opportune.profiles.definitions import Feature
from opportune.profiles.leaf import CartLine, Search, Touch, Trait
from opportune.profiles.schema import ProfileSchema
from opportune.profiles.windows import GRAINS, LEVELS, OLD, row_key, row_start

NOW = 1_760_000_000_000


def event(name: str = "product_viewed", time: int = NOW, *lines: Line, **rest) -> Event:
    kind = rest.pop("kind", "track")
    identifiers = rest.pop("identifiers", ("anonymous_id:a1",))
    return Event(
        kind, name, f"m{time}", rest.pop("source", "web"), time, time, identifiers, lines=lines, **rest
    )


def folded(schema: ProfileSchema, *events: Event, item_id: str = ""):
    leaf = schema.zero()
    for number, each in enumerate(events, start=1):
        schema.fold(leaf, each, number, each.about(item_id) if item_id else None)
    return leaf


def read_one(feature: Feature, *events: Event, now: int = NOW):
    schema = ProfileSchema([feature], feature.entity)
    (value,) = schema.read(folded(schema, *events, item_id="p1"), now).values()
    return value


ORDER = event(
    "order_completed", NOW,
    Line("p1", 2.0, 1.1, "mugs"), Line("p2", 1.0, 2.2, "teapots"), Line("p1", 1.0, None),
    value=4.4, properties={"coupon": "SPRING", "items": 3, "gift": {"wrap": True}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature(name="f", fold="count"), 1),
        (Feature(name="f", fold="count", event="product_viewed"), 0),
        (Feature(name="f", fold="sum", value="value"), 4.4),
        (Feature(name="f", fold="sum", value="amount"), 2 * 1.1 + 1 * 2.2),
        (Feature(name="f", fold="sum", value="quantity"), 2.0 + 1.0 + 1.0),
        (Feature(name="f", fold="mean", value="price"), (1.1 + 2.2) / 2),
        (Feature(name="f", fold="sum", value="properties.items"), 3.0),
        (Feature(name="f", fold="sum", value="properties.coupon"), 0.0),
        (Feature(name="f", fold="sum", value="properties.gift.wrap"), 0.0),
        (Feature(name="f", fold="distinct", value="item_id"), 2),
        (Feature(name="f", fold="distinct", value="properties.coupon"), 1),
        (Feature(name="f", fold="last", value="category"), ["mugs", "teapots"]),
        (Feature(name="f", fold="last", value="properties.items"), ["3"]),
        (Feature(name="f", fold="count", where={"category": "mugs"}), 1),
        (Feature(name="f", fold="count", where={"quantity": {"gte": 1}}), 3),
        (Feature(name="f", fold="sum", value="value", where={"category": "teapots"}), 4.4),
        (Feature(name="f", fold="sum", value="value", where={"category": "cups"}), 0.0),
        (Feature(name="f", fold="sum", value="quantity", where={"price": {"gt": 2, "lt": 3}}), 1.0),
        (Feature(name="f", fold="count", where={"properties.coupon": {"contains": "spring"}}), 1),
        (Feature(name="f", fold="count", where={"properties.coupon": {"in": ["A", "SPRING"]}}), 1),
        (Feature(name="f", fold="count", where={"properties.nothing": {"exists": False}}), 1),
        (Feature(name="f", fold="count", where={"properties.nothing": {"ne": 3}}), 1),
        (Feature(name="f", fold="count", where={"value": {"lte": 4.4}, "name": "order_completed"}), 1),
        (Feature(name="f", fold="count", where={"properties.coupon": {"gt": 3}}), 0),
        (Feature(name="f", fold="count", entity="item"), 1),
        (Feature(name="f", fold="sum", entity="item", value="quantity"), 2.0 + 1.0),
        (Feature(name="f", fold="distinct", entity="item", value="leaf"), 1),
    ],
    ids=lambda x: None if not isinstance(x, Feature) else f"{x.entity}-{x.fold}-{x.value}-{x.where}",
)
def test_values_and_conditions(feature, expected):
    assert read_one(feature, ORDER) == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_sums_are_exact_beyond_float_and_beyond_64_bits():
    feature = Feature(name="f", fold="sum", value="value")
    assert read_one(feature, *[event(value=0.1) for _ in range(10)]) == 1.0
    schema = ProfileSchema([feature])
    leaf = folded(schema, *[event(value=1e15) for _ in range(20)], event(value=-1e15), event(value=0.000001))
    assert leaf.life == [19 * 10**21 + 1]
    assert schema.decode(schema.encode(leaf)).life == leaf.life


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e16, True, "12", None, ["x"]])
def test_what_is_no_amount_is_left_out(value):
    feature = Feature(name="f", fold="max", value="properties.x")
    assert read_one(feature, event(properties={"x": value}), event(properties={"x": 2})) == 2.0


def test_affinity_halves_in_its_half_life_and_follows_weights():
    feature = Feature(
        name="f", fold="affinity", value="brand", half_life="7d",
        weights={"order_completed": 5, "product_removed": -1},
    )  # fmt: skip
    bought, seen = Line("p1", brand="acme"), Line("p2", brand="best")
    events = [event("order_completed", NOW - 7 * DAY, bought), event("product_viewed", NOW, seen)]
    read = read_one(feature, *events)
    assert list(read) == ["acme", "best"]
    assert read == pytest.approx({"acme": 5 / 2, "best": 1.0}, rel=0.004)
    events += [event("product_removed", NOW, seen), event("product_removed", NOW, seen)]
    assert list(read_one(feature, *events)) == ["acme"]


def test_affinity_lets_go_of_what_is_sixteen_half_lives_old():
    schema = ProfileSchema([Feature(name="f", fold="affinity", value="brand", half_life="1d")])
    old, new = event("v", NOW - 17 * DAY, Line("p", brand="old")), event("v", NOW, Line("p", brand="new"))
    for events in ((old, new), (new, old)):
        (state,) = folded(schema, *events).life
        assert [list(scores) for scores in state.values()] == [["new"]]


def test_distinct_counts_are_exact_to_64_and_close_beyond():
    feature = Feature(name="f", fold="distinct", value="item_id", windows=("30d",))
    for n in (1, 64):
        assert read_one(feature, *[event("v", NOW, Line(f"p{i}")) for i in range(n)] * 2) == n
    for n in (200, 2_000, 20_000):
        # Standard error 4.6 %; these values are fixed, so three of them is a generous bound.
        read = read_one(feature, *[event("v", NOW, Line(f"p{i}")) for i in range(n)])
        assert abs(read - n) <= 3 * 0.046 * n


def test_rows_are_minutes_then_hours_then_days_then_one():
    schema = ProfileSchema([Feature(name="f", fold="count", windows=("1h", "1d", "30d"))])
    ages = (0, 30 * MINUTE, 5 * HOUR, 3 * DAY, 29 * DAY, 100 * DAY, 900 * DAY)
    for order in (ages, ages[::-1]):
        leaf = folded(schema, *[event("v", NOW - age) for age in order])
        data = schema.encode(leaf)
        assert sorted(key % LEVELS for key in schema.decode(data).rows) == [0, 0, 1, 2, 2, OLD]
        assert schema.decode(data).rows[OLD] == [2]


def test_a_row_starts_where_its_bucket_starts():
    for level, grain in enumerate(GRAINS):
        spans = tuple(10 if i == level else -1 for i in range(3))
        assert row_start(row_key(NOW, NOW, spans)) == NOW // grain * grain
    assert row_key(NOW, NOW, (-1, -1, -1)) == OLD


def test_touches_carts_and_purchases():
    schema = ProfileSchema.default()
    leaf = folded(
        schema,
        event("product_viewed", NOW, Line("p1"), session_id="s1"),
        event("product_added", NOW + 2, Line("p1", 3.0, 2.5)),
        event("product_added", NOW + 3, Line("p2", 1.0)),
        event("product_removed", NOW + 4, Line("p2")),
        event("product_added_to_wishlist", NOW + 1, Line("p3")),
        event("products_searched", NOW + 5, query="red mug", session_id="s1"),
        event("product_dismissed", NOW + 6, Line("p9")),
        event("coupon_entered", NOW + 7),
        event("order_completed", NOW + 8, Line("p1", 3.0, 2.5), Line("p4")),
    )
    assert leaf.touches == [
        Touch(NOW, "p1", "view", "s1"),
        Touch(NOW + 1, "p3", "wish"),
        Touch(NOW + 2, "p1", "cart"),
        Touch(NOW + 3, "p2", "cart"),
        Touch(NOW + 4, "p2", "remove"),
        Touch(NOW + 7, "", "coupon"),
        Touch(NOW + 8, "p1", "buy"),
        Touch(NOW + 8, "p4", "buy"),
    ]
    assert leaf.bought == {"p1": NOW + 8, "p4": NOW + 8}
    assert leaf.cart["p2"] == CartLine(NOW + 4, 0.0, -1.0)
    assert {item for item, line in leaf.cart.items() if line.quantity > 0} == set()
    assert leaf.dismissed == {"p9": NOW + 6}
    assert leaf.searches == [Search(NOW + 5, "red mug", "s1")]
    assert leaf.events == 9
    assert (leaf.first_seen, leaf.newest, leaf.offset) == (NOW, NOW + 8, 9)


def test_traits_are_the_latest_by_event_time():
    schema = ProfileSchema([])
    said = [
        event("identify", NOW, kind="identify", traits={"plan": "free", "name": "Ada", "x": "y" * 600}),
        event("identify", NOW + 1, kind="identify", traits={"plan": "gold"}),
        event("identify", NOW - 1, kind="identify", traits={"plan": "old", "name": "A.", "age": 7}),
        event("identify", NOW + 2, kind="identify", traits={"name": None, "big": list(range(900))}),
        event("group", NOW + 9, kind="group", traits={"plan": "company"}),
    ]
    leaf = folded(schema, *said)
    assert leaf.traits == {
        "plan": Trait("gold", NOW + 1, "web"),
        "name": Trait(None, NOW + 2, "web"),
        "age": Trait(7, NOW - 1, "web"),
        "x": Trait("y" * 500, NOW, "web"),
    }
    assert schema.encode(folded(schema, *said[::-1])) != b""
    reverse = folded(schema, *said[::-1])
    assert reverse.traits == leaf.traits


def test_traits_of_one_instant_are_settled_by_source_then_value():
    schema = ProfileSchema([])

    def said(value, source="web"):
        return event("identify", NOW, kind="identify", traits={"plan": value}, source=source)

    for stands, other in (
        (said("a", "web"), said("z", "app")),
        (said("gold"), said("free")),
        (said(7), said(3)),
    ):
        for order in ((stands, other), (other, stands)):
            leaf = folded(schema, *order)
            assert leaf.traits["plan"].value == stands.traits["plan"]
            merged = schema.combine([folded(schema, each) for each in order])
            assert merged.traits == leaf.traits


def test_exposures_are_the_last_twenty_decisions():
    schema = ProfileSchema([])
    leaf = schema.zero()
    for n in random.Random(1).sample(range(30), 30):
        schema.fold_decision(leaf, f"d{n}", "home", NOW + n, [f"p{i}" for i in range(60)], n)
    assert [e.decision_id for e in leaf.exposures] == [f"d{n}" for n in range(10, 30)]
    assert len(leaf.exposures[0].item_ids) == 50
    assert leaf.newest < 0
    assert not leaf.empty


def test_links_go_to_the_leaves_of_both_ends():
    schema = ProfileSchema([])
    both = event("identify", NOW, kind="identify", identifiers=("user_id:u1", "anonymous_id:a1"))
    strong, weak = schema.zero(), schema.zero()
    schema.fold(strong, both, 7)
    schema.fold_link(weak, both, "anonymous_id:a1", 7)
    assert list(strong.links) == ["anonymous_id:a1"]
    assert list(weak.links) == ["user_id:u1"]
    assert (weak.offset, weak.empty, weak.names) == (7, True, {})


@pytest.mark.parametrize("entity", ["item", "session"])
def test_items_and_sessions_have_features_only(entity):
    schema = ProfileSchema([Feature(name="carts", fold="count", entity=entity)], entity)
    both = ("user_id:u1", "anonymous_id:a1")
    leaf = folded(
        schema, event("product_added", NOW, Line("p1"), identifiers=both, traits={"a": 1}), item_id="p1"
    )
    assert (leaf.links, leaf.touches, leaf.names, leaf.cart, leaf.traits) == ({}, [], {}, {}, {})
    assert leaf.newest == NOW
    assert 1 in schema.read(leaf, NOW).values()


def test_corrections_of_identity_touch_nothing_but_links():
    schema = ProfileSchema.default()
    leaf = folded(schema, event("identity_unlinked", NOW, identifiers=("user_id:u1", "anonymous_id:a1")))
    assert leaf.empty
    assert (leaf.names, leaf.rows) == ({}, {})
    assert not leaf.links["anonymous_id:a1"].active


def test_a_person_of_50_000_events_and_an_item_of_many_stay_small():
    person = ProfileSchema.default()
    item = ProfileSchema.default("item")
    leaf, record = person.zero(), item.zero()
    rng = random.Random(7)
    names = ("product_viewed", "product_viewed", "product_added", "order_completed")
    for n in range(50_000):
        line = Line(f"p{rng.randrange(5_000)}", 1.0, 9.99, f"c{n % 300}", f"b{n % 300}")
        each = event(
            names[n % 4], NOW + n * 30_000, line, session_id=f"s{n // 50}",
            identifiers=(f"user_id:{n % 30_000}",),
        )  # fmt: skip
        person.fold(leaf, each, n)
        item.fold(record, each, n, line.item_id)
    assert len(leaf.rows) <= 61 + 25 + 31 + 1 + 31
    assert len(person.encode(leaf)) < 80_000
    assert len(item.encode(record)) < 80_000
    assert person.read(leaf, leaf.newest)["orders_all"] == 50_000 // 4
    assert item.read(record, record.newest)["item_buys_all"] == 50_000 / 4


def test_a_typical_leaf_is_small():
    schema = ProfileSchema.default()
    events = [
        event(
            "product_viewed", NOW + n * 40_000, Line(f"{22_000 + n}", 1.0, 2.5, f"category {n % 3}", "brand"),
            session_id="3f0c9a70-5a5e-4a0f-9d3e-5c3b9a1c0000",
        )
        for n in range(10)
    ]  # fmt: skip
    assert len(schema.encode(folded(schema, *events))) < 700


def test_changed_definitions_keep_what_is_unchanged():
    keep = [
        Feature(name="views", fold="count", event="product_viewed", windows=("1h", "30d")),
        Feature(name="items", fold="distinct", value="item_id", windows=("1d",)),
        Feature(name="last", fold="last", value="item_id"),
        Feature(name="spend", fold="sum", value="value"),
    ]
    gone = [
        Feature(name="gone", fold="count", windows=("5m",)),
        Feature(name="gone2", fold="mean", value="price"),
    ]
    new = [
        Feature(name="new", fold="max", value="price", windows=("1h",)),
        Feature(name="spend2", fold="sum", value="value"),
    ]
    before = ProfileSchema([gone[0], *keep, gone[1]])
    after = ProfileSchema([*new, *keep[::-1]])
    events = [event("product_viewed", NOW - n * HOUR, Line(f"p{n}", 1.0, 2.0), value=1.5) for n in range(40)]
    leaf = after.decode(before.encode(folded(before, *events)))
    fresh = after.read(folded(after, *events), NOW)
    assert after.read(leaf, NOW) == {**fresh, "new_1h": None, "spend2": 0.0}
    after.fold(leaf, event("product_viewed", NOW + 1, Line("p1", 1.0, 7.0), value=1.0), 99)
    read = after.read(leaf, NOW + 1)
    assert (read["new_1h"], read["spend"], read["spend2"]) == (7.0, 40 * 1.5 + 1.0, 1.0)
    assert after.encode(after.decode(after.encode(leaf))) == after.encode(leaf)


def test_nothing_kept_means_no_rows():
    before = ProfileSchema([Feature(name="a", fold="count", windows=("1h",))])
    after = ProfileSchema([Feature(name="b", fold="count", windows=("1h",))])
    assert after.decode(before.encode(folded(before, event()))).rows == {}


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x90", b"not a leaf", b"\xdc\xff\xff"])
def test_bytes_that_are_no_leaf_are_refused(data):
    with pytest.raises(Corrupt, match="not a profile record"):
        ProfileSchema.default().decode(data)


def test_any_flipped_byte_is_a_leaf_or_is_refused():
    schema = ProfileSchema.default()
    data = bytearray(schema.encode(folded(schema, ORDER, event("product_viewed", NOW, Line("p1")))))
    rng = random.Random(3)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            schema.decode(bytes(broken))
        except Corrupt:
            refused += 1
    assert refused > 50
