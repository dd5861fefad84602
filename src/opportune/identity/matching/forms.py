"""The form in which a value is compared: what people write in different ways made alike, and nothing more."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_SPACES = re.compile(r"\s+")
_NOT_DIGIT = re.compile(r"\D+")
_NOT_CODE = re.compile(r"[^a-z0-9]+")
_MONTHS = {m: i for i, m in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
)}  # fmt: skip
_YMD = re.compile(r"^(\d{4})[-/. ]?(\d{1,2})[-/. ]?(\d{1,2})(?:[t ].*)?$")
_DMY = re.compile(r"^(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})$")
_DMonY = re.compile(r"^(\d{1,2})[-/. ]?([a-z]{3})[a-z]*[-/. ,]*(\d{4})$")
NOTHING = {"", "null", "none", "nan", "n/a", "na", "-", "unknown", "nil", "\\n"}
"""Values that stand for no value."""


def plain(text: str) -> str:
    """Lower case, without accents, one space between words.

    >>> plain("  Zoë  O'Brien ")
    "zoe o'brien"
    """
    text = text.strip().lower()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = _SPACES.sub(" ", text)
    return "" if text in NOTHING else text


def words(text: str) -> str:
    """Plain, punctuation taken for spaces: ``12 High-St.`` is ``12 high st``."""
    return _SPACES.sub(" ", re.sub(r"[^\w]+", " ", plain(text))).strip()


def code(text: str) -> str:
    """Letters and digits only."""
    return _NOT_CODE.sub("", plain(text))


def phone(text: str) -> str:
    """Digits, the last ten: country codes and leading zeros are written or not."""
    return _NOT_DIGIT.sub("", text)[-10:].lstrip("0")


def parse_date(text: str) -> str | None:
    """``YYYYMMDD``, the month and day as they stand even if no calendar has them; None when unreadable.

    ``03/04/1980`` is taken for the third of April; what cannot be a month makes it the American way.
    """
    text = text.strip().lower()
    if found := _YMD.match(text):
        year, month, day = found.groups()
    elif found := _DMY.match(text):
        day, month, year = found.groups()
        if int(month) > 12 >= int(day):
            day, month = month, day
    elif found := _DMonY.match(text):
        day, name, year = found.groups()
        if name not in _MONTHS:
            return None
        month = str(_MONTHS[name])
    else:
        return None
    return f"{year}{int(month):02d}{int(day):02d}"


def date(text: str) -> str:
    return parse_date(text) or code(text)


def full_name(text: str) -> str:
    """The words of a name in alphabetical order, so that ``Lee, Ann`` is ``Ann Lee``."""
    return " ".join(sorted(words(text).split()))


def email(text: str) -> str:
    """An address without spaces."""
    return plain(text).replace(" ", "")


FORM: dict[str, Callable[[str], str]] = {
    "name": words,
    "full_name": full_name,
    "date": date,
    "email": email,
    "phone": phone,
    "code": code,
    "number": code,
    "address": words,
    "text": words,
    "category": words,
}
"""Role -> the function that makes the compared form; an empty result is no value."""
