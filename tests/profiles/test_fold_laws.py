"""Every fold of the package keeps the laws of a fold."""

from __future__ import annotations

import msgspec
import pytest

from opportune.clock import DAY, HOUR, MINUTE, SECOND
from opportune.events.event import Event, Line
from opportune.profiles.definitions import Feature
from opportune.profiles.leaf_fold import LeafFold
from opportune.profiles.schema import ProfileSchema
from opportune.testing.folds import (
    END,
    START,
    FoldCase,
    check_bound,
    check_fold,
    check_inputs_untouched,
    shop_events,
)

SHOP = ("product_viewed", "product_added", "order_completed")


def many_events(count: int = 4_000) -> list[Event]:
    """Over 40 days by 500 items, with gaps that fill every level of rows and every bounded list."""
    gap = 40 * DAY // count
    return [
        Event(
            "track",
            ("product_viewed", "product_added", "order_completed", f"custom {i % 300}")[i % 4],
            f"m{i}",
            "web",
            START + i * gap,
            START + i * gap,
            (f"user_id:{i % 400}", f"anonymous_id:{i % 700}"),
            f"session-{i // 20}",
            (Line(f"p{i % 900}", 1.0, i % 90 + 0.99, f"category {i % 200}", f"brand {i % 30}"),),
            traits={f"trait {i % 150}": "x" * 2_000},
        )
        for i in range(count)
    ]


MANY = many_events()


def case_of(
    features: list[Feature], entity: str = "person", max_bytes: int = 100_000, examples: int = 12
) -> FoldCase:
    schema = ProfileSchema(features, entity)
    item_id = "p1" if entity == "item" else ""
    return FoldCase(
        LeafFold(schema, item_id),
        shop_events(identifiers=(("anonymous_id:a1",), ("anonymous_id:a1", "device_id:d1"))),
        freeze=schema.encode,
        encode=schema.encode,
        decode=schema.decode,
        max_bytes=max_bytes,
        many=MANY,
        examples=examples,
    )


@pytest.mark.parametrize("entity", ["person", "session", "item"])
def test_the_default_features_keep_the_laws(entity):
    check_fold(case_of(list(ProfileSchema.default(entity).features), entity, examples=40))


@pytest.mark.parametrize(
    "feature",
    [
        Feature(name="f", fold="count", event=SHOP, windows=("5m", "1h", "1d", "30d", "all")),
        Feature(name="f", fold="count", event=SHOP),
        Feature(name="f", fold="count", event=SHOP, windows=("48h",), where={"category": "c1"}),
        Feature(name="f", fold="sum", event=SHOP, value="amount", windows=("1h", "all")),
        Feature(name="f", fold="sum", event="order_completed", value="value"),
        Feature(name="f", fold="distinct", event=SHOP, value="item_id", windows=("5m", "92d")),
        Feature(name="f", fold="distinct", event=SHOP, value="properties.size"),
        Feature(name="f", fold="recency", event=SHOP),
        Feature(name="f", fold="recency", where={"price": {"gt": 0.15}}),
        Feature(name="f", fold="last", event=SHOP, value="category", n=3),
        Feature(name="f", fold="last", value="properties.size", n=2),
        Feature(name="f", fold="min", event=SHOP, value="price", windows=("1d", "7d")),
        Feature(name="f", fold="max", event=SHOP, value="price"),
        Feature(name="f", fold="mean", event=SHOP, value="price", windows=("60m", "2d")),
        Feature(
            name="f", fold="affinity", event=SHOP, value="category", half_life="2d",
            weights={"order_completed": 2.5, "product_added": -1},
        ),
        Feature(name="f", fold="affinity", value="brand", half_life="30m"),
        Feature(name="f", fold="age", event=SHOP),
        Feature(
            name="f", fold="preference", event=SHOP, value="category", half_life="2d",
            weights={"order_completed": 3, "product_added": -2},
        ),
    ],
    ids=lambda f: f"{f.fold}-{'-'.join(f.windows)}-{f.value}",
)  # fmt: skip
def test_every_fold_keeps_the_laws(feature):
    check_fold(case_of([feature]))


def test_sketches_of_many_values_keep_the_laws_too():
    features = [Feature(name="f", fold="distinct", value="item_id", windows=("30d",))]
    schema = ProfileSchema(features)
    events = shop_events()

    def crowd(found: list[Event]) -> list[Event]:
        """Each event becomes forty, about items of its own, so that sets turn into sketches."""
        return [
            msgspec.structs.replace(e, lines=(Line(f"{e.message_id} {e.name} {n}"),))
            for e in found
            for n in range(40)
        ]

    check_fold(FoldCase(LeafFold(schema), events.map(crowd), freeze=schema.encode, examples=10))


class Forgetful:
    """Wrong on purpose: keeps whichever event came last, and lies about its combination."""

    def zero(self):
        return None

    def fold(self, state, event):
        return event.time

    def combine(self, a, b):
        return a if b is None else b

    def read(self, state, now):
        return state


def test_the_suite_finds_a_fold_that_depends_on_order():
    with pytest.raises(AssertionError, match="order of arrival matters"):
        check_fold(FoldCase(Forgetful(), shop_events()))


class Aliasing:
    """Wrong on purpose: combining changes the first input."""

    def zero(self):
        return []

    def fold(self, state, event):
        state.append(event.time)
        return state

    def combine(self, a, b):
        if not a or not b:
            return sorted([*a, *b])
        a.extend(b)
        return a

    def read(self, state, now):
        return sorted(state)


def test_the_suite_finds_a_combination_that_changes_its_inputs():
    with pytest.raises(AssertionError, match="changed an input"):
        check_inputs_untouched(FoldCase(Aliasing(), shop_events(max_size=2)))


def test_the_suite_finds_a_state_that_outgrows_its_bound():
    case = FoldCase(
        Aliasing(), shop_events(), encode=lambda s: bytes(len(s)), decode=list, max_bytes=10, many=MANY[:11]
    )
    with pytest.raises(AssertionError, match="11 bytes after 11 events, more than 10"):
        check_bound(case)


def test_the_events_of_the_suite_span_all_levels_of_rows():
    assert END - START == 120 * DAY
    assert MANY[-1].time - MANY[0].time > 39 * DAY
    assert HOUR == 60 * MINUTE == 3_600 * SECOND
