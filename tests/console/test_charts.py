"""Charts by their values."""

from __future__ import annotations

import doctest
import re
from types import ModuleType
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.console import charts, identity_graph, pulse, words
from opportune.console.charts import Step, bars, line, sparkline, stacked, waterfall
from opportune.console.identity_graph import graph

RECT = re.compile(r'<rect class="mark-(\w+)" x="([\d.]+)" y="\d+" width="([\d.]+)"')


@pytest.mark.parametrize("module", [charts, identity_graph, pulse, words])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def rects(markup: str) -> list[tuple[str, float, float]]:
    return [(kind, float(x), float(width)) for kind, x, width in RECT.findall(markup)]


def test_bars_are_relative_to_the_longest() -> None:
    drawn = bars([("a", 10), ("b", 5), ("c", 0), ("d", -3)], caption="Letters")
    assert rects(drawn) == [("a", 0, 1000), ("a", 0, 500), ("a", 0, 0), ("a", 0, 0)]
    assert "<caption>Letters</caption>" in drawn
    assert '<th scope="row">b</th>' in drawn
    assert '<td class="num">5</td>' in drawn


def test_waterfall_places_each_stage_in_time() -> None:
    drawn = waterfall(
        [Step("a", 0, 1), Step("b", 1, 2), Step("inside b", 1.5, 1, 1)], caption="Stages", total=4
    )
    assert rects(drawn) == [
        ("a", 0, 1000 * 1 / 4),
        ("a", 1000 * 1 / 4, 1000 * 2 / 4),
        ("b", 1000 * 1.5 / 4, 250),
    ]
    assert '<th scope="row" class="depth-1">inside b</th>' in drawn
    assert '<td class="num">50%</td>' in drawn
    assert '<td class="num">4.000</td>' in drawn


def test_short_stages_are_still_seen_and_stay_inside() -> None:
    drawn = waterfall([Step("last", 99.9999, 0.0001)], caption="Stages", total=100)
    assert rects(drawn) == [("a", 996.0, 4.0)]


def test_stacked_parts_fill_the_bar() -> None:
    drawn = stacked([("stored", 6, "good"), ("nothing", 0, "c"), ("rejected", 2, "bad")], label="Ends")
    assert rects(drawn) == [("good", 0, 750), ("bad", 750, 250)]
    assert "<title>rejected: 2</title>" in drawn
    assert rects(stacked([("stored", 0, "good")], label="Ends")) == []


def test_line_says_its_values_in_words_and_as_a_table() -> None:
    drawn = line([0, 4, 2], caption="Events", first="before", last="now")
    assert 'points="0.0,100.0 500.0,4.0 1000.0,52.0"' in drawn
    assert 'aria-label="Events: now 2, most 4"' in drawn
    assert '<th scope="row">2 back</th><td class="num">0</td>' in drawn
    assert '<th scope="row">now</th><td class="num">2</td>' in drawn


def test_sparkline() -> None:
    assert 'points="0.0,22.0 50.0,2.0 100.0,12.0"' in sparkline([0, 10, 5], label="up and down")


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.floats(0, 1e12)), max_size=8))
def test_charts_are_well_formed_whatever_is_in_them(rows: list[tuple[str, float]]) -> None:
    printable = [("".join(c for c in label if c.isprintable()), value) for label, value in rows]
    values = [value for _, value in printable]
    for drawn in (
        bars(printable, caption="<c>"),
        line(values, caption='"c"', first="a", last="b"),
        stacked([(label, value, "a") for label, value in printable], label="x"),
        waterfall([Step(label, value, value) for label, value in printable], caption="c", total=sum(values)),
    ):
        root = ElementTree.fromstring(f"<div>{drawn}</div>")
        for rect in root.iter("rect"):
            assert float(rect.get("x", "nan")) >= 0
            assert float(rect.get("x", "nan")) + float(rect.get("width", "nan")) <= 1000.2


def link(a: str, b: str, **more: str) -> dict[str, str]:
    return {"a": a, "b": b, "rule": "identify", **more}


def test_graph_draws_every_identifier_and_link() -> None:
    names = ["user_id:ada", "email:a@b.org", "anonymous_id:x"]
    drawn = graph(
        [{"identifier": name} for name in names],
        [link(names[0], names[1]), link(names[1], names[2])],
        [link(names[2], "user_id:grace", reason="limit:user_id")],
    )
    root = ElementTree.fromstring(str(drawn))
    assert len([g for g in root.iter("g") if g.get("class") == "node"]) == 3
    assert len([g for g in root.iter("g") if g.get("class") == "node outside"]) == 1
    assert len([p for p in root.iter("path") if p.get("class") == "link"]) == 2
    assert len([p for p in root.iter("path") if p.get("class") == "link refused"]) == 1
    assert "3 identifiers, 2 links, 1 refused" in root.get("aria-label", "")
    assert graph([], [], []) == ""


def test_a_crowd_is_cut_and_nothing_breaks() -> None:
    names = [f"anonymous_id:{n}" for n in range(100)]
    drawn = graph([{"identifier": name} for name in names], [link(names[0], name) for name in names[1:]], [])
    root = ElementTree.fromstring(str(drawn))
    assert len(list(root.iter("g"))) == 1 + identity_graph.MOST
