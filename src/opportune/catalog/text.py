"""Text as search, category pages and URLs compare it: lower case, without accents, in words."""

from __future__ import annotations

import re
import unicodedata

_WORDS = re.compile(r"[^\W_]+")
WORD_CHARS = 40
"""Longer words are cut: no product is found by the 41st letter, and memory stays bounded."""


def plain(text: str) -> str:
    """Lower case without accents.

    >>> plain("Crème BRÛLÉE Straße")
    'creme brulee strasse'
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words(text: str) -> list[str]:
    """The words of a text, plain, in order.

    >>> words("Regency Tea-Plate, 3 pcs")
    ['regency', 'tea', 'plate', '3', 'pcs']
    """
    return [word[:WORD_CHARS] for word in _WORDS.findall(plain(text))]


def slug(text: str) -> str:
    """The text as it stands in a URL, so that ``/category/running-shoes`` finds ``Running Shoes``.

    >>> slug("Running Shoes & Boots")
    'running-shoes-boots'
    """
    return "-".join(words(text))
