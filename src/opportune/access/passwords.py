"""Passwords as Argon2id hashes (RFC 9106, its second recommended parameters: 64 MiB, three passes)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from opportune.errors import InvalidRequest

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST_CHARS = 10
MOST_CHARS = 256


def hashed(password: str) -> str:
    """The hash to keep, its salt and parameters in it. 50 ms and 64 MiB, on purpose. Raises
    :class:`InvalidRequest` for a password that is too short to keep anybody out."""
    if not LEAST_CHARS <= len(password) <= MOST_CHARS:
        raise InvalidRequest(
            f"a password has {LEAST_CHARS} to {MOST_CHARS} characters",
            where="password",
            remedy="a sentence is easy to remember and hard to guess",
        )
    return _hasher().hash(password)


def matches(password: str, kept: str) -> bool:
    """Whether this is the password; 50 ms, so not on the event loop. Without a hash to compare with (nobody
    has this name) it takes as long and is false, so that the time does not tell who exists."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MOST_CHARS:
        return False
    try:
        return _hasher().verify(kept or _decoy(), password) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher
    from argon2.profiles import RFC_9106_LOW_MEMORY

    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


@cache
def _decoy() -> str:
    return _hasher().hash("nobody has this name")
