"""The core of an IAB TCF v2 consent string: which of the eleven purposes the person allows.

Source: IAB Tech Lab, "Transparency and Consent String with Global Vendor & CMP List Formats", v2.2, core
string. Only the fields that decide about purposes are read; vendors are not.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

VERSION_BITS = 6
CREATED_BIT, UPDATED_BIT, MOMENT_BITS = 6, 42, 36
CMP_BIT, CMP_BITS = 78, 12
POLICY_BIT = 132
SPECIAL_BIT, SPECIAL_FEATURES = 140, 12
CONSENT_BIT, INTEREST_BIT, PURPOSES = 152, 176, 24
LEAST_BITS = 213
KNOWN_PURPOSES = 11
"""Purposes that version 2.2 defines."""


class TcString(msgspec.Struct, frozen=True):
    """``consents`` and ``interests`` are the purposes allowed by consent and not objected to under legitimate
    interest, ``special`` the special features opted into, numbered from 1. ``created`` and ``updated`` are in
    milliseconds."""

    version: int
    created: int
    updated: int
    cmp_id: int
    policy_version: int
    consents: frozenset[int]
    interests: frozenset[int]
    special: frozenset[int]


def decode(text: str) -> TcString:
    """Read the core segment. Raises :class:`ValueError` that says what is wrong with the string."""
    core = text.partition(".")[0]
    try:
        data = base64.b64decode(core + "=" * (-len(core) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a TCF string is base64url") from error
    bits = int.from_bytes(data)
    length = len(data) * 8
    if length < LEAST_BITS:
        raise ValueError(f"a TCF string has at least {LEAST_BITS} bits, this has {length}")

    def number(start: int, size: int) -> int:
        return bits >> (length - start - size) & (1 << size) - 1

    def those_set(start: int, size: int) -> frozenset[int]:
        return frozenset(i + 1 for i in range(size) if number(start + i, 1))

    version = number(0, VERSION_BITS)
    if version != 2:
        raise ValueError(f"version {version} of the TCF is not read, only 2")
    return TcString(
        version,
        number(CREATED_BIT, MOMENT_BITS) * 100,
        number(UPDATED_BIT, MOMENT_BITS) * 100,
        number(CMP_BIT, CMP_BITS),
        number(POLICY_BIT, 6),
        those_set(CONSENT_BIT, PURPOSES),
        those_set(INTEREST_BIT, PURPOSES),
        those_set(SPECIAL_BIT, SPECIAL_FEATURES),
    )
