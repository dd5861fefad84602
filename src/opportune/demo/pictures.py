# ruff: noqa: E501  (the tables read best with one entry on one line)
"""A picture for every item, drawn from its name: outline from the noun, colours and pattern from the adjectives.

No downloads and no photographs: an SVG of one to two kilobytes, the same bytes every time.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

from opportune.demo.shapes import BY_CATEGORY, NOUNS, SHAPES


class Palette(NamedTuple):
    """Background, main, dark, light, accent."""

    ground: str
    main: str
    dark: str
    light: str
    accent: str


# Colour words of the catalogue, most telling first; the accents were chosen to sit well beside the main tone.
COLOURS: tuple[tuple[str, Palette], ...] = (
    ("FUSCHIA|FUCHSIA|MAGENTA|RASPBERRY", Palette("#fbeaf3", "#c9377f", "#5c1639", "#f6cfe2", "#f2b84b")),
    ("PINK|ROSE|ROSES|PEONY|BLOSSOM", Palette("#fdeff1", "#ec9aa9", "#7a3343", "#fbdbe1", "#86b49a")),
    ("RED|RETROSPOT|CHERRY|STRAWBERRY|POPPY|LADYBIRD|TOADSTOOL|APPLES?", Palette("#fbeeea", "#cf4a3f", "#5f1f1a", "#f8ded6", "#e9b44c")),
    ("TURQUOISE|AQUA|TEAL|MINT", Palette("#e8f5f3", "#56b0a7", "#1b5450", "#cdebe6", "#ef9f76")),
    ("NAVY|BLUE|SPACEBOY|SEA|DENIM", Palette("#eaf1f8", "#5b8fc4", "#1f3d63", "#d3e3f3", "#efb36a")),
    ("GREEN|OLIVE|SAGE|GARDEN|LEAF|FOREST|WOODLAND|HERB|HOLLY", Palette("#eef4ea", "#7fa76a", "#2e4a26", "#dbe8d2", "#e39a6b")),
    ("YELLOW|SUNFLOWER|LEMON|DAISY|CHICKS?", Palette("#fdf6e1", "#edc04f", "#6a4d10", "#fbeabb", "#d9725d")),
    ("ORANGE|AMBER|APRICOT|PEACH", Palette("#fdf1e6", "#e8955a", "#6e3a17", "#fadcc6", "#5f9f9a")),
    ("PURPLE|LILAC|LAVENDER|VIOLET|AMETHYST|MAUVE", Palette("#f3eff9", "#9a86c4", "#443063", "#e2d9f1", "#e7b45d")),
    ("GOLD|BRASS", Palette("#faf4e4", "#d2a84c", "#5f4716", "#f3e3b8", "#a5554a")),
    ("SILVER|ZINC|CHROME|METAL|GREY|SLATE|DIAMANTE|CRYSTAL", Palette("#f0f2f4", "#a9b4c0", "#3b4754", "#e0e5ea", "#d38c7d")),
    ("BLACK|CHALK|SKULLS?|NIGHT", Palette("#efeeec", "#4b4a50", "#1e1d22", "#d7d4d0", "#d9a441")),
    ("CHOCOLATE|BROWN|WOOD|WOODEN|WICKER|COFFEE|RUSTIC", Palette("#f6efe7", "#ae8660", "#4c3420", "#e9d8c3", "#7f9f86")),
    ("IVORY|CREAM|VANILLA|NATURAL|LACE|ANTIQUE", Palette("#f4efe4", "#eadbb9", "#6b5733", "#f9f2e1", "#b98b6d")),
    ("WHITE|PEARL|FROSTED|SNOW\\w*", Palette("#eceff3", "#fdfdfd", "#5a6675", "#f2f5f8", "#88a9c9")),
)  # fmt: skip
_COLOURS = tuple((re.compile(rf"\b(?:{words})\b"), palette) for words, palette in COLOURS)
# Where no colour is named, one of these by the item's number, so that a page has variety.
_OTHERS = (
    Palette("#eef2f5", "#7d9fb5", "#2a4353", "#d8e5ee", "#e5a66e"),
    Palette("#f7efe9", "#d18f74", "#5f3424", "#f1d8cc", "#789f93"),
    Palette("#eff3ec", "#93ab84", "#38492e", "#dce7d5", "#d88f6c"),
    Palette("#f5eef2", "#b98aa4", "#573346", "#ead6e1", "#d9b25c"),
    Palette("#f6f1e3", "#cfae6a", "#5b4618", "#ecdfbd", "#7c94b0"),
)
CHRISTMAS = Palette("#f1f3ea", "#b5433c", "#4c1714", "#f4e6d9", "#5b8a57")

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("RETROSPOT|POLKADOT|POLKADOTS|SPOT|SPOTS|SPOTTY|DOTTY|DOT", '<circle cx="5" cy="5" r="2.4"/><circle cx="11" cy="11" r="2.4"/>'),
    ("STRIPES?|STRIPEY|STRIPED|DECKCHAIR|STRIPY", '<path d="M0 0h6v12H0z"/>'),
    ("GINGHAM|CHECK|TARTAN|PLAID", '<path d="M0 0h6v12H0zM6 0h6v6H6z" opacity=".7"/>'),
    ("HEARTS?|SWEETHEART|LOVE", '<path d="M6 9.5C1 6 2.5 2.5 4.5 2.5 5.5 2.5 6 3.5 6 4c0-.5.5-1.5 1.5-1.500C9.5 2.5 11 6 6 9.500z"/>'),
    ("STARS?|SPACEBOY", '<path d="m6 1.5 1.4 3 3.1.3-2.3 2.1.7 3.100L6 8.4 3.1 10l.7-3.1-2.3-2.1 3.1-.3z"/>'),
    ("FLOWERS?|FLORAL|ROSES?|DAISY|DAISIES|PAISLEY|BLOSSOM|FLOCK|BOTANICAL|MORRIS", '<g><circle cx="6" cy="3.4" r="1.9"/><circle cx="8.6" cy="5.4" r="1.9"/><circle cx="7.6" cy="8.4" r="1.9"/><circle cx="4.4" cy="8.4" r="1.9"/><circle cx="3.4" cy="5.4" r="1.9"/></g>'),
    ("UNION|FLAG|JACK|LONDON", '<path d="M0 0l12 12M12 0 0 12" stroke-width="2"/><path d="M4.8 0h2.400v12H4.800zM0 4.800h12v2.400H0z"/>'),
    ("LACE|CROCHET|DOIL\\w+|BAROQUE", '<circle cx="6" cy="6" r="3.6" fill="none" stroke-width="1.6"/>'),
)  # fmt: skip
_MARKS = tuple((re.compile(rf"\b(?:{words})\b"), mark) for words, mark in _PATTERNS)


def outline(name: str, category: str) -> str:
    """The key in ``SHAPES``: by noun, else one of the category's.

    >>> outline("Red Retrospot Mug", "tea")
    'mug'
    """
    upper = name.upper()
    for pattern, shape in NOUNS:
        if pattern.search(upper):
            return shape
    choices = BY_CATEGORY.get(category, BY_CATEGORY["more"])
    return choices[zlib.crc32(name.encode()) % len(choices)]


def palette(name: str, category: str) -> Palette:
    """By colour word, else Christmas red and green, else by the name's hash."""
    upper = name.upper()
    for pattern, colours in _COLOURS:
        if pattern.search(upper):
            return colours
    return CHRISTMAS if category == "christmas" else _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)]


@lru_cache(maxsize=4096)
def picture(name: str, category: str) -> str:
    """The SVG document; decorative, so it carries no title: the page names the item beside it."""
    colours = palette(name, category)
    upper = name.upper()
    mark = next((mark for pattern, mark in _MARKS if pattern.search(upper)), "")
    shape = outline(name, category)
    main = colours.main
    defs = ""
    if mark:
        turn = zlib.crc32(name.encode()) % 3 * 15
        defs = (
            f'<defs><pattern id="p" width="12" height="12" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate({turn})"><path fill="{main}" d="M0 0h12v12H0z"/>'
            f'<g fill="{colours.light}" stroke="{colours.light}" stroke-width="0">{mark}</g></pattern></defs>'
        )
        main = "url(#p)"
    drawing = (
        SHAPES[shape]
        .replace("{m}", main)
        .replace("{d}", colours.dark)
        .replace("{l}", colours.light)
        .replace("{a}", colours.accent)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 120" width="480" height="480">'
        f'{defs}<path fill="{colours.ground}" d="M0 0h120v120H0z"/>'
        f'<ellipse cx="60" cy="98" rx="40" ry="6" fill="{colours.dark}" opacity=".09"/>'
        f'<g fill="none" stroke="{colours.dark}" stroke-width="2.5" stroke-linecap="round" '
        f'stroke-linejoin="round" transform="translate(6 6) scale(.9)">{drawing}</g></svg>'
    )
