"""Scopes, and the roles that are made of them: the one table of who may do what.

A route and a page name the one scope that they need (``server/routes.py``, ``console/app.py``). A key or a
person who signs in has a set of scopes, usually by a role.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, get_args

import msgspec

from opportune.errors import InvalidRequest

Access = Literal[
    "open",
    "write",
    "catalogue",
    "reports",
    "people",
    "repair",
    "campaigns",
    "identity",
    "privacy",
    "audit",
    "administer",
]
"""What a route needs; ``open`` needs no key.

``write``: send events and ask for decisions. ``catalogue``: items. ``reports``: numbers without people in
them. ``people``: what is known of a person, decisions made for them. ``repair``: dead letters, which hold
events as they came. ``campaigns``: experiments and what pages show. ``identity``: join and part people.
``privacy``: access, erasure, retention. ``audit``: who did what. ``administer``: keys and who may sign in.
"""

SCOPES: dict[str, int] = {name: 1 << bit for bit, name in enumerate(get_args(Access)[1:])}
"""Scope -> its bit."""

WRITE = SCOPES["write"]
EVERYTHING = sum(SCOPES.values())


class Role(StrEnum):
    VIEWER = "viewer"
    ANALYST = "analyst"
    MARKETER = "marketer"
    PRIVACY_OFFICER = "privacy-officer"
    ADMINISTRATOR = "administrator"


def bits(names: Iterable[str]) -> int:
    """Scopes by name as one number. Raises :class:`InvalidRequest` for a name that is none."""
    found = 0
    for name in names:
        if name not in SCOPES:
            raise InvalidRequest(
                "no such scope", seen=name, where="--scope", remedy=f"one of {', '.join(SCOPES)}"
            )
        found |= SCOPES[name]
    return found


def names_of(scopes: int) -> list[str]:
    """The scopes in a number, by name, in the order of the table."""
    return [name for name, bit in SCOPES.items() if scopes & bit]


ROLES: dict[Role, int] = {
    Role.VIEWER: bits(["reports"]),
    Role.ANALYST: bits(["reports", "people"]),
    Role.MARKETER: bits(["reports", "people", "campaigns", "catalogue"]),
    Role.PRIVACY_OFFICER: bits(["reports", "people", "repair", "identity", "privacy", "audit"]),
    Role.ADMINISTRATOR: EVERYTHING,
}


class Grant(msgspec.Struct, frozen=True):
    """What whoever presented a key, or signed in, may do. ``who`` names them in the audit log; ``is_public``
    for a key that may stand in a page, whose events are not believed in everything they say."""

    scopes: int
    who: str
    is_public: bool = False

    def allows(self, access: str) -> bool:
        return bool(self.scopes & SCOPES[access])


WRITE_GRANT = Grant(WRITE, "write key", is_public=True)
SECRET_GRANT = Grant(EVERYTHING, "secret key")
