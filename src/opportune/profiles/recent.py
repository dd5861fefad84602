"""Bounded lists and maps whose content depends on what was put in, never on the order.

Each keeps the greatest entries under a fixed order, and an entry that was let go can only come back by being
great enough itself; so folding in any order and combining in any grouping end in the same place.
"""

from __future__ import annotations

from bisect import insort
from typing import Any, Protocol, TypeVar

MAX_NAME_CHARS = 200


class Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


E = TypeVar("E", bound=Ordered)


def keep_last(entries: list[E], entry: E, most: int) -> None:
    """Put one entry into a sorted list, of which the greatest ``most`` stay. 0.1 us when it is the newest."""
    if not entries or not entry < entries[-1]:
        entries.append(entry)
    else:
        insort(entries, entry)
    if len(entries) > most:
        del entries[0]


def merge_last(a: list[E], b: list[E], most: int) -> list[E]:
    """Two sorted lists as one, of which the greatest ``most`` stay; a new list."""
    if not a or not b:
        return [*a, *b]
    if b[0] < a[0]:
        a, b = b, a
    both = [*a, *b]
    if b[0] < a[-1]:
        both.sort()
    return both[-most:]


def keep_greatest(entries: dict[str, E], key: str, entry: E, most: int) -> None:
    """Remember the greatest entry per key, and at least the ``most`` keys whose entries are greatest. Half as
    many more may stay until :func:`trim_greatest`, so that a full map costs no more than a small one."""
    known = entries.get(key)
    if known is None or known < entry:
        entries[key] = entry
        if known is None and len(entries) > most + most // 2:
            trim_greatest(entries, most)


def trim_greatest(entries: dict[str, E], most: int) -> None:
    """Let go of all but the ``most`` keys whose entries are greatest (ties by key), in place."""
    if len(entries) > most:
        pairs: Any = zip(entries.values(), entries.keys(), strict=True)
        for _, key in sorted(pairs)[:-most]:
            del entries[key]


def merge_greatest(a: dict[str, E], b: dict[str, E], most: int) -> dict[str, E]:
    """Two such maps as one; a new map."""
    out = dict(a)
    for key, entry in b.items():
        known = out.get(key)
        if known is None or known < entry:
            out[key] = entry
    trim_greatest(out, most)
    return out


def count_name(names: dict[str, int], name: str, most: int) -> None:
    """Count an event name. Of more than ``most`` names the alphabetically first stay, with exact counts: a
    name that goes can never come back."""
    known = names.get(name)
    if known is not None:
        names[name] = known + 1
        return
    names[name[:MAX_NAME_CHARS]] = names.get(name[:MAX_NAME_CHARS], 0) + 1
    if len(names) > most:
        del names[max(names)]


def merge_names(a: dict[str, int], b: dict[str, int], most: int) -> dict[str, int]:
    out = dict(a)
    for name, count in b.items():
        out[name] = out.get(name, 0) + count
    if len(out) > most:
        return {name: out[name] for name in sorted(out)[:most]}
    return out
