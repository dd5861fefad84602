"""Units to numbers in [0, 1): salted hashes, our own and GrowthBook's byte for byte.

A hash is all the randomness that assignment has: the same unit and salt give the same number in every
process, language and year, and two salts give numbers that know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from opportune.kernels import kernel

HashName = Literal["blake2b", "growthbook_v2", "growthbook_v1"]
Hash = Callable[[str], float]
"""A unit's value to its number in [0, 1)."""

_FNV_START = 0x811C9DC5
_FNV_PRIME = 0x01000193
_MASK = 0xFFFFFFFF


def fnv1a32(text: str, start: int = _FNV_START) -> int:
    """FNV-1a, 32 bits, over UTF-16 code units as JavaScript's ``charCodeAt`` gives them. ``start`` goes on
    from the hash of what comes before. 50 ns a character.

    >>> hex(fnv1a32("foobar"))
    '0xbf9cf968'
    """
    h = start
    if text.isascii():
        for byte in text.encode():
            h = ((h ^ byte) * _FNV_PRIME) & _MASK
        return h
    data = text.encode("utf-16-le", "surrogatepass")
    for unit in memoryview(data).cast("H").tolist():
        h = ((h ^ unit) * _FNV_PRIME) & _MASK
    return h


@kernel
def _fnv1a32_kernel(data: Any, start: int) -> int:
    h = start
    for unit in data:
        h = ((h ^ unit) * 0x01000193) & 0xFFFFFFFF
    return h


def fast_fnv1a32(text: str, start: int = _FNV_START) -> int:
    """The same as :func:`fnv1a32`, compiled: 0.5 us for any unit of ordinary length."""
    if text.isascii():
        return int(_fnv1a32_kernel(text.encode(), start))
    return int(_fnv1a32_kernel(np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2"), start))


def growthbook(seed: str, value: str, version: Literal[1, 2] = 2) -> float:
    """GrowthBook's ``hash(seed, value, version)``: 10,000 buckets in version 2, 1,000 in version 1.

    >>> growthbook("seed", "a"), growthbook("", "a", 1)
    (0.0505, 0.22)
    """
    if version == 1:
        return fnv1a32(seed, fnv1a32(value)) % 1_000 / 1_000
    return fnv1a32(str(fnv1a32(value, fnv1a32(seed)))) % 10_000 / 10_000


def hasher(name: HashName, salt: str) -> Hash:
    """The hash with its salt mixed in once. 1 us a call for ``blake2b`` (no buckets), 2 us for
    ``growthbook_v2``."""
    if name == "growthbook_v2":
        seeded = fast_fnv1a32(salt)
        return lambda value: fast_fnv1a32(str(fast_fnv1a32(value, seeded))) % 10_000 / 10_000
    if name == "growthbook_v1":
        return lambda value: growthbook(salt, value, 1)
    copy = blake2b(salt.encode("utf-8", "surrogatepass") + b"\0", digest_size=8).copy

    def number(value: str) -> float:
        state = copy()
        state.update(value.encode("utf-8", "surrogatepass"))
        # 53 of the 64 bits, so that the largest hash is still less than one.
        return (int.from_bytes(state.digest(), "big") >> 11) / 9007199254740992.0

    return number


def layer_hasher(name: HashName, layer: str) -> Hash:
    """Where a unit stands in a layer; GrowthBook's namespaces use version 1 and two underscores."""
    if name == "blake2b":
        return hasher("blake2b", f"layer:{layer}")
    return hasher("growthbook_v1", f"__{layer}")
