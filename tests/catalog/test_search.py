"""The shop's search box."""

from __future__ import annotations

import pytest

from opportune.catalog.items import Catalog
from opportune.catalog.search import SearchIndex

NAMES = {
    "a": "Regency Teapot Roses",
    "b": "Regency Cakestand 3 Tier",
    "c": "Crème brûlée dish",
    "d": "Tea towel with teapots",
    "e": "Red retrospot mug",
}


def shop() -> Catalog:
    catalog = Catalog()
    for item_id, name in NAMES.items():
        catalog.upsert(item_id, {"name": name, "category": "Kitchen" if item_id != "e" else "Gifts"}, 1)
    return catalog


def found(index: SearchIndex, query: str, **options: object) -> list[str]:
    numbers = index.search(query, **options).items.tolist()  # type: ignore[arg-type]  # options as given
    return [index._catalog.ids[n] for n in numbers]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cakestand", ["b"]),
        ("CAKESTAND!", ["b"]),
        ("creme brulee", ["c"]),
        ("Crème BRÛLÉE", ["c"]),
        ("rege", ["a", "b"]),
        ("regency rose", ["a"]),
        ("teapot", ["a", "d"]),
        ("mug unheard-of", ["e"]),
        ("", []),
        ("?!", []),
        ("zzz", []),
    ],
)
def test_words_beginnings_and_accents(query: str, expected: list[str]) -> None:
    assert found(SearchIndex(shop()), query) == expected


def test_a_word_in_full_beats_a_beginning() -> None:
    catalog = Catalog()
    catalog.upsert("long", {"name": "teapot"}, 1)
    catalog.upsert("short", {"name": "tea"}, 1)
    assert found(SearchIndex(catalog), "tea") == ["short", "long"]


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    catalog = Catalog()
    for i in range(20):
        catalog.upsert(f"common{i}", {"name": "blue mug"}, 1)
    catalog.upsert("rare", {"name": "blue vase"}, 1)
    index = SearchIndex(catalog)
    assert index.search("vase").score[0] > index.search("mug").score[0]


def test_category_and_stock_narrow_the_result() -> None:
    catalog = shop()
    catalog.upsert("a", {"available": False}, 2)
    index = SearchIndex(catalog)
    assert found(index, "regency", available=True) == ["b"]
    assert found(index, "red", category=catalog.category_number("Gifts")) == ["e"]
    assert found(index, "red", category=catalog.category_number("Kitchen")) == []


def test_the_index_follows_the_catalogue() -> None:
    catalog = shop()
    index = SearchIndex(catalog)
    assert found(index, "lantern") == []
    catalog.upsert("f", {"name": "Paper lantern"}, 1)
    assert found(index, "lantern") == ["f"]
    catalog.upsert("f", {"name": "Paper lamp"}, 2)
    assert found(index, "lantern") == []
    assert found(index, "lamp") == ["f"]
    assert len(index) == 6


def test_renaming_items_again_and_again_gives_what_a_fresh_index_gives() -> None:
    catalog = shop()
    index = SearchIndex(catalog)
    index.catch_up()
    for round_ in range(6):
        for n, item_id in enumerate(NAMES):
            name = list(NAMES.values())[(n + round_ + 1) % len(NAMES)]
            catalog.upsert(item_id, {"name": name}, 10 + round_)
        assert index.behind == len(catalog)
        fresh = SearchIndex(catalog)
        for query in ("regency", "tea", "re", "mug", "dish kitchen"):
            ours, theirs = index.search(query), fresh.search(query)
            assert ours.items.tolist() == theirs.items.tolist(), (round_, query)
            assert ours.score.tolist() == pytest.approx(theirs.score.tolist())


def test_a_search_never_waits_for_the_whole_catalogue() -> None:
    catalog = Catalog()
    for i in range(25):
        catalog.upsert(f"i{i}", {"name": "mug"}, 1)
    index = SearchIndex(catalog, step=10)
    assert index.search("mug").total == 10
    assert index.behind == 15
    assert index.catch_up() == 0
    assert index.search("mug").total == 25


def test_ties_go_to_the_newer_item_and_the_total_counts_all() -> None:
    catalog = Catalog()
    for i in range(50):
        catalog.upsert(f"i{i}", {"name": "mug"}, 1)
    result = SearchIndex(catalog).search("mug", 3)
    assert result.items.tolist() == [49, 48, 47]
    assert result.total == 50


@pytest.mark.parametrize("query", ["x" * 100_000, "a " * 10_000, "\x00\ud7ff", "🫖", "''; drop table"])
def test_any_text_may_be_searched_for(query: str) -> None:
    assert SearchIndex(shop()).search(query).total <= len(NAMES)


def test_an_empty_catalogue_finds_nothing() -> None:
    assert SearchIndex(Catalog()).search("mug").total == 0
