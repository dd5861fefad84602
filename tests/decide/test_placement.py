"""Placements are files; what is wrong in them is named with its path and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from opportune.clock import DAY, MINUTE
from opportune.decide.placement import (
    SOURCES,
    Diversity,
    Placement,
    Rule,
    default_placements,
    load_placements,
    placements_schema,
    read_placements,
    window_ms,
)
from opportune.errors import InvalidDefinition, NotFound


def one(body: str) -> Placement:
    return read_placements(f"placements:\n  - name: p\n{body}").get("p")


def test_a_placement_needs_only_a_name() -> None:
    placement = one("")
    assert (placement.count, placement.pool, placement.fallbacks) == (
        8,
        100,
        ("popular_in_category", "popular", "default"),
    )
    assert placement.filters.in_stock
    assert placement.filters.repeat == "never_current"


def test_everything_can_be_said_in_yaml() -> None:
    placement = one(
        """
    title: Picked for you
    count: 6
    sources: [{source: session_knn, weight: 1}, {source: content}]
    context: [item]
    filters:
      exclude_bought: {window: 30d}
      repeat: once
      allow: {categories: [Mugs]}
      deny: {brands: [Acme], items: ["22423"]}
      price: {min: 1.5, max: 20}
    rules:
      - {boost: 1.5, where: {brand: [Zed, Yak], color: red}}
      - {bury: true, where: {clearance: true}}
      - {pin: "85123A", rank: 2}
    diversity: {by: brand, max_per: 2}
    fallbacks: [trending, default]
    budget_ms: {total: 20, candidates: 8}
    default_items: ["1", "2"]
    content: {headline: Hello}
    reasons: {viewed_together: "since you looked at {item}"}
"""
    )
    assert [rule.label for rule in placement.rules] == [
        "boost x1.5 where brand=('Zed', 'Yak'), color=red",
        "bury where clearance=True",
        "pin 85123A at 2",
    ]
    assert placement.sources[1].weight == 1.0
    assert placement.filters.price is not None
    assert placement.filters.price.max == 20
    assert placement.diversity == Diversity(by="brand", max_per=2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "    cuont: 3",
            r"unknown field `cuont`, at placements.yaml \$.placements\[0\]: see the JSON Schema",
        ),
        ("    count: 0", r"Expected `int` >= 1, at placements.yaml \$.placements\[0\].count"),
        ("    count: 201", r"Expected `int` <= 200, at placements.yaml \$.placements\[0\].count"),
        (
            "    sources: [{source: magic}]",
            r"unknown candidate source, saw 'magic', at placements.yaml "
            r"\$.placements\[0\].sources\[0\].source: use one of attributes, content, "
            r"content_meaning, covisitation, factors, given, microsegments, most_bought, popular,",
        ),
        (
            "    fallbacks: [popular, magic]",
            r"unknown fallback, saw 'magic', at placements.yaml \$.placements\[0\].fallbacks\[1\]",
        ),
        ("    sources: [{source: content}, {source: content}]", "placement p names a source twice"),
        ("    sources: [{source: content, weight: -1}]", r"Expected `float` > 0.0, at .*sources\[0\].weight"),
        ("    filters: {exclude_bought: {window: soon}}", "window must be like 30d.*saw 'soon'"),
        ("    filters: {price: {min: 5, max: 1}}", "price needs 0 <= min <= max"),
        ("    filters: {repeat: sometimes}", "Invalid enum value 'sometimes'"),
        ("    rules: [{boost: 2}]", "boost and bury need `where`"),
        ("    rules: [{boost: 2, bury: true, where: {a: 1}}]", "exactly one of boost, bury, pin"),
        ("    rules: [{pin: x, where: {a: 1}}]", "pin takes an item id and a rank, not `where`"),
        ("    rules: [{pin: x}, {pin: y}]", "placement p pins two items at one rank"),
        ("    diversity: {by: category}", "diversity needs either max_per or mmr"),
        ("    diversity: {max_per: 1, mmr: 0.5}", "diversity needs either max_per or mmr"),
        ("    reasons: {similar: '{person} liked it'}", "may use {item} and {category} only"),
        ("    reasons: {similar: " + "x" * 121 + "}", "longer than 120 characters"),
        ("    budget_ms: {total: 0}", "Expected `float` > 0.0"),
        ("    name: [", r"not valid YAML: .* at placements.yaml line 3 column 12"),
    ],
)
def test_what_is_wrong_is_named(body: str, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        one(body)


def test_two_placements_cannot_have_one_name() -> None:
    with pytest.raises(
        InvalidDefinition,
        match=r"two placements have one name, saw 'a', at placements.yaml \$.placements\[1\].name",
    ):
        read_placements("placements: [{name: a}, {name: a}]")


def test_an_unknown_placement_is_not_found_and_the_known_are_named() -> None:
    with pytest.raises(NotFound, match=r"no such placement, saw 'nope', at \$.placement: known are: a, b"):
        read_placements("placements: [{name: b}, {name: a}]").get("nope")


def test_the_defaults_cover_the_usual_pages() -> None:
    placements = default_placements()
    assert [p.name for p in placements] == [
        "home_recs",
        "category_recs",
        "pdp_similar",
        "cart_upsell",
        "search_rerank",
        "recommendations",
    ]
    assert placements.get("recommendations").count == 8
    for placement in placements:
        assert {s.source for s in placement.sources} <= SOURCES | {"given"}
        assert set(placement.fallbacks) <= SOURCES | {"newest", "default"}


def test_the_defaults_do_without_sources_that_do_not_exist() -> None:
    home = default_placements(["popular"]).get("home_recs")
    assert home.sources == ()
    assert home.fallbacks == ("popular", "newest", "default")


def test_a_file_is_read_and_a_missing_one_named(tmp_path: Path) -> None:
    path = tmp_path / "placements.yaml"
    path.write_text("placements: [{name: a, title: Größe}]", encoding="utf-8")
    placements = load_placements(path)
    assert placements.get("a").title == "Größe"
    assert placements.get("recommendations").count == 8
    with pytest.raises(InvalidDefinition, match="cannot read the definition file"):
        load_placements(tmp_path / "none.yaml")


def test_an_empty_file_has_no_placements() -> None:
    assert len(read_placements("")) == 0


def test_windows_are_milliseconds() -> None:
    assert window_ms("30d") == 30 * DAY
    assert window_ms("5m") == 5 * MINUTE
    assert window_ms("all") is None
    for wrong in ("", "d", "0d", "-1d", "1w", "²d"):
        with pytest.raises(ValueError, match="window must be like 30d"):
            window_ms(wrong)


def test_the_schema_names_what_editors_complete() -> None:
    schema = placements_schema()
    assert {"sources", "filters", "rules", "diversity"} <= set(schema["$defs"]["Placement"]["properties"])


def test_a_rule_is_called_by_its_name_when_it_has_one() -> None:
    assert Rule(bury=True, where={"a": 1}, name="old stock last").label == "old stock last"
