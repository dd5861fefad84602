"""From the source's shouted, typo-ridden descriptions to names fit for a shop window."""

from __future__ import annotations

import re

_SMALL = frozenset(["a", "an", "and", "at", "by", "for", "in", "of", "on", "or", "the", "to", "with"])
_FIXED = {
    "t-light": "T-Light", "tlight": "T-Light", "t-lights": "T-Lights", "asstd": "Assorted", "asst":
    "Assorted", "w": "with", "w/": "with", "+": "&", "cm": "cm", "led": "LED", "usb": "USB", "uk": "UK",
    "diy": "DIY", "ipod": "iPod", "i": "I", "doiley": "Doily", "earing": "Earring", "earings": "Earrings",
    "s": "s", "knitters": "Knitters", "childrens": "Children's", "childs": "Child's", "pantry": "Pantry",
}  # fmt: skip
_SIZE = re.compile(r"^\d+(?:\.\d+)?(?:x\d+)*(?:cm|mm|g|kg|ml|l)$", re.IGNORECASE)
_WORD = re.compile(r"[^\s]+")


def is_goods(code: str) -> bool:
    """Stock codes of goods begin with five digits; postage, fees, manual corrections and samples do not.

    >>> is_goods("85123A"), is_goods("POST"), is_goods("BANK CHARGES")
    (True, False, False)
    """
    return len(code) >= 5 and code[:5].isdigit() and code not in _SERVICES


_SERVICES = frozenset({"23444", "23702", "22016"})  # next-day carriage, an image download, a voucher


def is_name(description: str) -> bool:
    """Clerks wrote notes ("thrown away", "check", "?") where the name belongs; names are mostly capitals.

    >>> is_name("WHITE METAL LANTERN"), is_name("damages"), is_name("BAG 500g SWIRLY MARBLES"), is_name("?")
    (True, False, True, False)
    """
    letters = [c for c in description if c.isalpha()]
    return len(letters) >= 3 and sum(c.isupper() for c in letters) >= 0.6 * len(letters)


def display_name(description: str) -> str:
    """Title case with small words small, sizes in lower case, stray punctuation gone.

    >>> display_name("WHITE HANGING HEART T-LIGHT HOLDER")
    'White Hanging Heart T-Light Holder'
    >>> display_name("  SET OF 6 CAKE TINS , PANTRY DESIGN. ")
    'Set of 6 Cake Tins, Pantry Design'
    """
    text = re.sub(r"\s+,", ",", description)
    text = re.sub(r",(?=[^\s\d])", ", ", text).strip(" .,*-'\"")
    words = _WORD.findall(text)
    return " ".join(_word(word, first=number == 0) for number, word in enumerate(words))


def _word(word: str, *, first: bool) -> str:
    lower = word.lower()
    bare = lower.strip(",.")
    if _SIZE.match(lower):
        return lower
    if not first and bare in _SMALL:
        return lower
    if bare in _FIXED and not (first and bare == "s"):
        return lower.replace(bare, _FIXED[bare])
    # str.capitalize on each part of a hyphen or slash pair, leaving apostrophes alone ("Dad's").
    return re.sub(r"[a-z0-9'\u2019&.]+", lambda part: part[0][:1].upper() + part[0][1:], lower)
