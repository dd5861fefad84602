"""What was said about a person: per name the latest value by event time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.profiles.leaf import MAX_TEXT, Trait

MAX_VALUE_BYTES = 1_000
"""Lists and objects that are larger (as msgpack) are not kept as traits; the journal has them."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def fold_traits(
    traits: dict[str, Trait], said: Mapping[str, Any], time: Millis, source: str, most: int
) -> None:
    """Put what one event said into ``traits``, in place. Of more than ``most`` names the alphabetically first
    stay."""
    for name, value in said.items():
        kind = type(value)
        if kind is str:
            if len(value) > MAX_TEXT:
                value = value[:MAX_TEXT]
        elif kind is not bool and kind is not int and kind is not float and value is not None:
            try:
                if len(_encoder.encode(value)) > MAX_VALUE_BYTES:
                    continue
            except (TypeError, OverflowError, RecursionError):
                continue
        elif kind is int and not -(1 << 63) <= value < 1 << 63:
            continue
        if name and len(name) <= MAX_TEXT:
            trait = Trait(value, time, source)
            known = traits.get(name)
            if known is None or later(known, trait) is trait:
                traits[name] = trait
                if len(traits) > most:
                    del traits[max(traits)]


def later(a: Trait, b: Trait) -> Trait:
    """The one that stands: the later, then by source, then by value; order of arrival does not matter."""
    if a.time != b.time:
        return a if a.time > b.time else b
    return a if _tie(a) >= _tie(b) else b


def merge_traits(a: dict[str, Trait], b: dict[str, Trait], most: int) -> dict[str, Trait]:
    """Both as one new map."""
    out = dict(a)
    for name, trait in b.items():
        known = out.get(name)
        out[name] = trait if known is None else later(known, trait)
    if len(out) > most:
        return {name: out[name] for name in sorted(out)[:most]}
    return out


def _tie(trait: Trait) -> tuple[str, bytes]:
    return trait.source, _encoder.encode(trait.value)
