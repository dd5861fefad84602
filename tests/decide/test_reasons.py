"""Reasons name only what the person themselves did."""

from __future__ import annotations

from typing import Any

import pytest

from opportune.decide.reasons import NAME_CHARS, shorten

NOW = 1_760_000_000_000
P = "placements: [{name: p, count: 2, sources: [{source: %s}]%s}]"


def reasons(kit: Any, source: str, because: int, touches: Any = (), rest: str = "", **context: Any) -> Any:
    known = kit.sources()[source]
    fixed = kit.FixedSource(source, known.reason, [1, 2], because=because)
    world = kit.world(P % (source, rest), **{source: fixed})
    decision, _ = kit.one(world, kit.Shopper(touches=tuple(touches)), context=context)
    return decision.items[0].reasons


def test_because_you_viewed(kit: Any) -> None:
    [reason] = reasons(kit, "session_knn", 5, [kit.Touched("i5", "view", NOW)])
    assert (reason.code, reason.text, reason.item_id) == (
        "viewed_together",
        "because you viewed Item 5",
        "i5",
    )


def test_an_item_that_the_person_has_not_touched_is_never_named(kit: Any) -> None:
    [reason] = reasons(kit, "session_knn", 5, [kit.Touched("i6", "view", NOW)])
    assert (reason.code, reason.text, reason.item_id) == ("viewed_together", "others viewed it too", "")


def test_the_item_of_the_page_is_named_as_such(kit: Any) -> None:
    [reason] = reasons(kit, "covisitation", 5, item_id="i5")
    assert reason.text == "often viewed with Item 5"
    [reason] = reasons(kit, "content", 5, item_id="i5")
    assert reason.text == "similar to Item 5"


def test_what_no_item_of_the_session_spoke_for_the_page_did(kit: Any) -> None:
    [reason] = reasons(kit, "covisitation", -1, [kit.Touched("i6", "view", NOW)], item_id="i5")
    assert (reason.text, reason.item_id) == ("often viewed with Item 5", "i5")


@pytest.mark.parametrize(
    ("source", "context", "text"),
    [
        ("trending", {}, "trending now"),
        ("popular", {}, "popular with other shoppers"),
        ("popular_in_category", {"category": "c3"}, "popular in c3"),
        ("popular_in_category", {}, "popular in this category"),
        ("content", {}, "similar to what you viewed"),
    ],
)
def test_reasons_without_an_item(kit: Any, source: str, context: dict[str, str], text: str) -> None:
    [reason] = reasons(kit, source, -1, **context)
    assert (reason.text, reason.item_id) == (text, "")


def test_a_placement_says_it_in_its_own_words(kit: Any) -> None:
    rest = ", reasons: {viewed_together: 'goes with {item} in {category}'}"
    touches = [kit.Touched("i5", "view", NOW)]
    [reason] = reasons(kit, "session_knn", 5, touches, rest, category="c2")
    assert reason.text == "goes with Item 5 in c2"


def test_at_most_two_reasons_the_stronger_source_first(kit: Any) -> None:
    text = "placements: [{name: p, sources: [{source: content}, {source: session_knn}, {source: trending}]}]"
    world = kit.world(text, content=[1], session_knn=[1], trending=[1])
    decision, _ = kit.one(world)
    assert [r.code for r in decision.items[0].reasons] == ["similar", "viewed_together"]


def test_names_are_cut_to_size(kit: Any) -> None:
    catalog = kit.catalog()
    catalog.upsert("i5", {"name": "x\n" + "very " * 400 + "long"}, NOW)
    knn = kit.FixedSource("session_knn", "viewed_together", [1], because=5)
    world = kit.world(P % ("session_knn", ""), catalog, session_knn=knn)
    decision, _ = kit.one(world, kit.Shopper(touches=(kit.Touched("i5", "view", NOW),)))
    text = decision.items[0].reasons[0].text
    assert len(text) <= len("because you viewed ") + NAME_CHARS
    assert text.startswith("because you viewed x very very")
    assert text.endswith("…")


def test_a_name_that_looks_like_a_template_stays_as_it_is(kit: Any) -> None:
    catalog = kit.catalog()
    catalog.upsert("i5", {"name": "{item} {category}"}, NOW)
    knn = kit.FixedSource("session_knn", "viewed_together", [1], because=5)
    world = kit.world(P % ("session_knn", ""), catalog, session_knn=knn)
    decision, _ = kit.one(world, kit.Shopper(touches=(kit.Touched("i5", "view", NOW),)))
    assert decision.items[0].reasons[0].text == "because you viewed {item} {category}"


def test_short_names_stay() -> None:
    assert shorten("a" * NAME_CHARS) == "a" * NAME_CHARS
    assert len(shorten("a" * (NAME_CHARS + 1))) == NAME_CHARS
