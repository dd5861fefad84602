"""Names, categories and pictures, all derived from descriptions."""

from __future__ import annotations

import doctest
from types import ModuleType
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.demo import basket, categories, names, pictures, storefront
from opportune.demo.categories import CATEGORIES, MORE, SLUGS, classify
from opportune.demo.names import display_name, is_goods, is_name
from opportune.demo.pictures import outline, palette, picture
from opportune.demo.shapes import BY_CATEGORY, SHAPES


@pytest.mark.parametrize("module", [basket, categories, names, pictures, storefront])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("description", "slug"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", "candles"),
        ("CHRISTMAS GIFT BAG LARGE", "christmas"),
        ("JUMBO BAG RED RETROSPOT", "bags"),
        ("GIFT BAG PINK", "paper"),
        ("KNITTED UNION FLAG HOT WATER BOTTLE", "textiles"),
        ("ALARM CLOCK BAKELIKE GREEN", "clocks"),
        ("REGENCY CAKESTAND 3 TIER", "tea"),
        ("ASSORTED COLOUR BIRD ORNAMENT", "decor"),
        ("POPPY'S PLAYHOUSE BEDROOM", "more"),
    ],
)
def test_first_rule_that_knows_a_noun_wins(description: str, slug: str) -> None:
    assert CATEGORIES[classify(description)].slug == slug


def test_nouns_are_whole_words() -> None:
    assert classify("SCARDSBOROUGH") == MORE, "CARDS inside a word is no card"
    assert set(SLUGS) == {category.slug for category in CATEGORIES}


def test_names() -> None:
    assert display_name("SET/20 RED RETROSPOT PAPER NAPKINS ") == "Set/20 Red Retrospot Paper Napkins"
    assert display_name("POLYESTER FILLER PAD 45x45cm") == "Polyester Filler Pad 45x45cm"
    assert display_name("JAM MAKING SET WITH JARS") == "Jam Making Set with Jars"
    assert [is_name(text) for text in ("LUNCH BAG", "thrown away", "??", "")] == [True, False, False, False]
    assert [is_goods(code) for code in ("22423", "85123A", "M", "C2", "23444")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_becomes_a_name_and_a_category(text: str) -> None:
    assert len(display_name(text)) <= len(text) * 6
    assert 0 <= classify(text) < len(CATEGORIES)


def test_picture_follows_noun_colour_and_pattern() -> None:
    assert outline("Pink Polkadot Lunch Bag", "bags") == "tote"
    assert palette("Pink Polkadot Lunch Bag", "bags").main == "#ec9aa9"
    plain, spotted = picture("Pink Lunch Bag", "bags"), picture("Pink Polkadot Lunch Bag", "bags")
    assert "<pattern" not in plain
    assert '<circle cx="5" cy="5" r="2.4"/>' in spotted
    assert picture("Pink Lunch Bag", "bags") is plain


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_drawing_is_well_formed_and_small(shape: str) -> None:
    category = next((slug for slug, shapes in BY_CATEGORY.items() if shape in shapes), "more")
    body = (
        SHAPES[shape]
        .replace("{m}", "#123456")
        .replace("{d}", "#000")
        .replace("{l}", "#fff")
        .replace("{a}", "#abc")
    )
    assert "{" not in body
    root = ElementTree.fromstring(f"<svg>{body}</svg>")
    assert len(root) >= 1
    assert len(picture(f"thing {shape}", category)) < 4_000


def test_names_cannot_break_out_of_a_picture() -> None:
    drawn = picture('<script>alert("x")</script> MUG', "tea")
    assert "script" not in drawn
    ElementTree.fromstring(drawn)
