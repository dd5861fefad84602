"""features.yaml: what it may say, and what the message is when it may not."""

from __future__ import annotations

import re

import pytest

from opportune.errors import InvalidDefinition
from opportune.profiles.definitions import Feature, default_features, parse_features
from opportune.profiles.schema import ProfileSchema
from opportune.profiles.windows import parse_window


def test_own_features_add_to_the_shipped_ones_and_replace_by_name():
    mine = parse_features(
        """
        features:
          - {name: views, fold: count, event: product_viewed, windows: [10m]}
          - {name: reviews, fold: count, event: product_reviewed, entity: item}
        """
    )
    assert ProfileSchema.of(mine, "person").outputs[0] == "views_10m"
    assert "reviews" in ProfileSchema.of(mine, "item").outputs
    assert len(mine.features) == len(default_features().features) + 1


def test_extends_nothing_starts_empty():
    mine = parse_features("extends: nothing\nfeatures: [{name: n, fold: count}]")
    assert [f.name for f in mine.features] == ["n"]
    assert parse_features("extends: nothing").features == ()


def test_the_shipped_set_covers_every_entity():
    shipped = default_features()
    assert {f.entity for f in shipped.features} == {"person", "item"}
    person = ProfileSchema.default()
    for name in ("views_5m", "views_30d", "order_recency", "orders_all", "spend_all", "affinity_category"):
        assert name in person.outputs


def test_outputs_are_named_after_windows_narrowest_first():
    feature = Feature(name="v", fold="count", windows=("all", "30d", "5m", "48h"))
    assert feature.outputs == ["v_5m", "v_48h", "v_30d", "v_all"]
    assert Feature(name="v", fold="count").outputs == ["v"]
    assert not Feature(name="v", fold="count", windows=("all",)).windowed


AFFINITY = "name: v, fold: affinity, value: brand, half_life: 7d"


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("name: Views, fold: count", "not a feature name, saw 'Views', at features.yaml $.features[0].name"),
        ("name: v, fold: cuont", "Invalid enum value 'cuont', at features.yaml $.features[0].fold"),
        ("name: v, fold: sum", "sum needs a value, saw '', at features.yaml $.features[0].value"),
        ("name: v, fold: count, value: price", "count has no value, saw 'price'"),
        ("name: v, fold: sum, value: colour", "not a path in an event, saw 'colour'"),
        (
            "name: v, fold: count, windows: [90m]",
            "not a window, saw '90m', at features.yaml $.features[0].win",
        ),
        ("name: v, fold: count, windows: [1h, 1h]", "a window is there twice"),
        ("name: v, fold: recency, windows: [1h]", "recency has no windows"),
        ("name: v, fold: affinity, value: brand", "not a half-life, saw '', at features.yaml"),
        ("name: v, fold: count, half_life: 7d", "only affinity and preference fade, saw '7d'"),
        (f"{AFFINITY}, weights: {{a: 101}}", "a weight must be -100 to 100, saw 101"),
        (f"{AFFINITY}, event: a, weights: {{b: 1}}", "a weight for an event that is not counted"),
        ("name: v, fold: last, value: brand, n: 51", "n must be 1 to 50, saw 51"),
        ("name: v, fold: count, where: {price: {over: 3}}", "not an operator, saw 'over'"),
        ("name: v, fold: count, where: {price: {gt: '3'}}", "gt cannot be compared with that, saw '3'"),
        ("name: v, fold: count, where: {brand: {in: acme}}", "in cannot be compared with that, saw 'acme'"),
        ("name: v, fold: count, where: {brand: {exists: 1}}", "exists cannot be compared with that, saw 1"),
        ("name: v, fold: count, evnt: a", "Object contains unknown field `evnt`"),
        (
            "name: v, fold: count}, {name: v, fold: count",
            "the person feature is there twice, first at $.features[0]",
        ),
        (
            "name: v, fold: count, windows: [1h]}, {name: v_1h, fold: count",
            "two person features give the same value, v and v_1h, saw 'v_1h'",
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(feature, message):
    with pytest.raises(InvalidDefinition, match=re.escape(message)) as caught:
        parse_features(f"extends: nothing\nfeatures: [{{{feature}}}]")
    assert caught.value.remedy


def test_too_many_features_are_refused():
    many = ", ".join(f"{{name: f{i}, fold: count}}" for i in range(201))
    with pytest.raises(InvalidDefinition, match="more than 200 features, saw 201"):
        parse_features(f"extends: nothing\nfeatures: [{many}]")


@pytest.mark.parametrize(
    "text", ["", "0m", "61m", "49h", "93d", "1w", "5 m", "-1h", "all ", "00005m", "1.5h"]
)
def test_windows_that_are_none(text):
    with pytest.raises(InvalidDefinition, match="not a window"):
        parse_window(text)


def test_meaning_changes_with_what_is_stored_and_not_with_windows_alone():
    def meaning(**changes):
        return Feature(**{"name": "v", "fold": "count", "windows": ("1h",), **changes}).meaning

    base = meaning()
    assert base == meaning(windows=("1h", "30d"), description="words")
    for changed in (
        {"windows": ()},
        {"name": "w"},
        {"event": "a"},
        {"where": {"brand": "x"}},
        {"fold": "distinct", "value": "item_id"},
    ):
        assert meaning(**changed) != base
