"""What to look for in files to be sure that an identifier is in none of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from opportune.events.event import Identifier

SHORT = 8
"""A value of fewer bytes stands in any large file by chance: its type or quotes must be around it."""


def needles(identifiers: Iterable[Identifier]) -> list[bytes]:
    """The bytes that identifiers may be written as, in lower case: plain and JSON-escaped; files are searched
    in lower case too.

    >>> needles(["email:Ada@example.org", "user_id:u1"])
    [b'"u1"', b'ada@example.org', b'user_id:u1']
    """
    found: set[bytes] = set()
    for identifier in identifiers:
        value = identifier.partition(":")[2]
        if len(value.encode("utf-8", "surrogatepass")) >= SHORT:
            found |= _forms(value)
        else:
            found |= _forms(identifier)
            found |= {b'"' + form + b'"' for form in _forms(value)}
    return sorted(found)


def _forms(text: str) -> set[bytes]:
    return {
        text.encode("utf-8", "surrogatepass").lower(),
        text.lower().encode("utf-8", "surrogatepass"),
        json.dumps(text)[1:-1].lower().encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass").lower(),
    }


def occurrences(data: bytes, needle: bytes) -> Iterator[int]:
    """Where ``needle`` stands by itself in ``data`` (both in lower case): not inside a longer word, as ``u1``
    is in ``u12``. A MessagePack string of exactly that length is by itself whatever follows."""
    at = data.find(needle)
    while at >= 0:
        end = at + len(needle)
        if _is_whole(data, at, end):
            yield at
        at = data.find(needle, at + 1)


def _is_whole(data: bytes, start: int, end: int) -> bool:
    length = end - start
    before = data[start - 1] if start else 0
    if (length < 32 and before == 0xA0 + length) or (
        length < 256 and start > 1 and before == length and data[start - 2] == 0xD9
    ):
        return True
    return not (_is_word(before) or (end < len(data) and _is_word(data[end])))


def _is_word(byte: int) -> bool:
    return 48 <= byte <= 57 or 97 <= byte <= 122


_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def names_somebody(text: str, identifiers: Iterable[Identifier] = ()) -> bool:
    """Whether a value points at one person: an e-mail address, an IP address, or the value of one of
    ``identifiers``.

    >>> names_somebody("write to ada@example.org"), names_somebody("192.0.2.7"), names_somebody("mobile")
    (True, True, False)
    >>> names_somebody("U1", ["user_id:u1"])
    True
    """
    if "@" in text and _ADDRESS.search(text):
        return True
    plain = text.strip().lower()
    if any(identifier.partition(":")[2].lower() == plain for identifier in identifiers):
        return True
    if "." not in plain and ":" not in plain:
        return False
    try:
        ip_address(plain)
    except ValueError:
        return False
    return True
