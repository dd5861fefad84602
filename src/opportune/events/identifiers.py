"""Identifiers: their types, from strongest to weakest, how values are tidied, and values that name nobody.

The first identifier of an event names the leaf that the event is folded into, and folded state never moves.
So strength here means *how surely the value is one person's*: a login before an address, an address before an
anonymous id, and an anonymous id (which clients reset at logout) before a device, which outlives its users.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from opportune.events.event import Identifier

ORDER: tuple[str, ...] = (
    "user_id",
    "email",
    "phone",
    "external",  # stands for every custom type of `context.externalIds`, in alphabetical order
    "anonymous_id",
    "device_id",
    "push_token",
    "advertising_id",
    "ga_client_id",
    "account",
    "household",
)

NOT_A_PERSON = frozenset({"account", "household"})
"""Types that many people share by design: kept with the event, never a reason to join two people."""

BLOCKED = frozenset(
    {
        "", "-", "--", "-1", "0", "anon", "anonymous", "anonymous_user", "empty", "false", "guest", "n/a",
        "na", "nan", "nil", "no_user", "none", "null", "(null)", "<null>", "(not set)", "not_set",
        "[object object]", "true", "undefined", "unknown", "visitor",
    }
)  # fmt: skip
"""Values, in lower case, that broken integrations send for everybody; besides these, any run of zeros."""

MAX_CHARS = 512
"""A longer value is not an identifier: it stays in the event and names nobody."""

_RANK = {kind: rank for rank, kind in enumerate(ORDER)}
_EXTERNAL_RANK = _RANK["external"]
_ZEROS = "0-:. "
_LONGEST_BLOCKED = max(map(len, BLOCKED))
_REWRITTEN = frozenset({"email", "advertising_id", "phone"})


def rank(kind: str) -> int:
    """How weak an identifier type is: 0 for ``user_id``; custom types rank together after the phone."""
    return _RANK.get(kind, _EXTERNAL_RANK)


def kind_of(identifier: Identifier) -> str:
    """The type of ``type:value``."""
    return identifier.partition(":")[0]


def tidy(kind: str, value: str) -> str:
    """The value as it is compared: trimmed, e-mail addresses and advertising ids in lower case, phone numbers
    as digits with a leading plus if it had one. Empty when the value names nobody. O(len(value)), 0.3 us.

    >>> tidy("email", " Ada@Example.org "), tidy("user_id", "null"), tidy("user_id", "0000")
    ('ada@example.org', '', '')
    """
    value = value.strip()
    if kind in _REWRITTEN:
        value = _rewritten(kind, value)
    length = len(value)
    if length <= _LONGEST_BLOCKED:
        if value.lower() in BLOCKED:
            return ""
    elif length > MAX_CHARS:
        return ""
    return value if value[0] not in _ZEROS or value.strip(_ZEROS) else ""


def _rewritten(kind: str, value: str) -> str:
    if kind == "phone":
        digits = "".join(c for c in value if c in "0123456789")
        return ("+" if value.startswith("+") else "") + digits if len(digits) >= 5 else ""
    value = value.lower()
    return value if kind != "email" or _is_address(value) else ""


def _is_address(value: str) -> bool:
    local, at, domain = value.rpartition("@")
    return bool(at and local and domain and " " not in value and local not in BLOCKED)


def make(kind: str, value: object) -> Identifier:
    """``type:value`` with the value tidied, or empty when it names nobody. Numbers become text (``7.0`` is
    ``7``); anything but text and numbers names nobody. A colon or a blank in the type becomes ``_``."""
    if type(value) is not str:
        text = as_text(value)
        if text is None:
            return ""
        value = text
    return _remembered(kind, value) if len(value) <= _CHARS_REMEMBERED else _made(kind, value)


_CHARS_REMEMBERED = 64


def _made(kind: str, value: str) -> Identifier:
    value = tidy(kind, value)
    return f"{kind}:{value}" if value else ""


_remembered = lru_cache(maxsize=16_384)(_made)
"""A visitor sends the same ids with every event. 0.1 us when seen before; one text for all of them."""


def as_text(value: object) -> str | None:
    """An identifier as text: numbers without a trailing ``.0``; None for what cannot be one."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value) if isinstance(value, int) else None


def custom_kind(kind: str) -> str:
    """The type of an external id as we name it: lower case, blanks and colons as ``_``.

    >>> custom_kind("Braze:ID ")
    'braze_id'
    """
    return "_".join(kind.lower().replace(":", " ").split())[:64]


def parse(identifier: str) -> Identifier:
    """A ``type:value`` that a caller wrote, its value tidied; empty when it names nobody or has no type."""
    kind, colon, value = identifier.partition(":")
    return make(kind, value) if colon and kind else ""


def strongest_first(identifiers: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """Without empties and repeats, strongest first; within a type as given, custom types by name."""
    unique = [i for i in dict.fromkeys(identifiers) if i]
    if len(unique) > 1:
        unique.sort(key=_strength)
    return tuple(unique)


def from_mapping(identifiers: dict[str, str | None]) -> tuple[Identifier, ...]:
    """The identifiers of a decision request, ``{"user_id": "u1", "anonymous_id": "a1"}``, strongest first."""
    found = [make(kind if kind in _RANK else custom_kind(kind), value) for kind, value in identifiers.items()]
    return strongest_first(found) if len(found) != 1 else (found[0],) if found[0] else ()


def _strength(identifier: Identifier) -> tuple[int, str]:
    kind = identifier.partition(":")[0]
    found = _RANK.get(kind, _EXTERNAL_RANK)
    return found, kind if found == _EXTERNAL_RANK else ""
