"""Joining and taking apart by hand: what is asked, whether it can be meant, and how the two stand then."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from opportune.errors import InvalidRequest
from opportune.events.event import Identifier
from opportune.events.identifiers import NOT_A_PERSON, parse
from opportune.identity.components import LinksOf, resolve
from opportune.identity.links import Link, ordered
from opportune.identity.rules import IdentityRules

Action = Literal["merge", "confirm", "unmerge", "reject"]

EVENT_OF: dict[Action, str] = {
    "merge": "identity_linked",
    "confirm": "identity_confirmed",
    "unmerge": "identity_unlinked",
    "reject": "identity_unlinked",
}
CORRECTIONS = "corrections"
"""The source that corrections by hand are accounted as."""


class Together(msgspec.Struct, frozen=True):
    """Two identifiers: one person or not (``is_one``), over which links (``path``, the fewest), and why a
    link between them is not followed (``refused``)."""

    a: Identifier
    b: Identifier
    is_one: bool
    person_id: Identifier
    members: tuple[Identifier, ...]
    path: tuple[Link, ...] = ()
    refused: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "together": self.is_one,
            "id": self.person_id,
            "identifiers": list(self.members),
            "path": [link.to_dict() for link in self.path],
            "refused": self.refused,
        }


def together(a: Identifier, b: Identifier, links_of: LinksOf, rules: IdentityRules) -> Together:
    """How the two stand, by their links as they are."""
    component = resolve(a, links_of, rules)
    refused = next((why for link, why in component.refused if {link.a, link.b} == {a, b}), "")
    return Together(
        a,
        b,
        b in component.identifiers,
        component.person_id,
        component.identifiers,
        tuple(path(component.links, a, b)),
        refused,
    )


def correction(a: str, b: str, action: Action, now: Together) -> tuple[Identifier, Identifier]:
    """The two identifiers that a correction is about, stronger first. Raises :class:`InvalidRequest`."""
    for name, given in (("a", a), ("b", b)):
        if not parse(given) or parse(given).partition(":")[0] in NOT_A_PERSON:
            raise InvalidRequest(
                "this names no person",
                seen=given,
                where=f"$.{name}",
                remedy="write it as type:value, for example user_id:u1",
            )
    first, second = ordered(parse(a), parse(b))
    if first == second:
        raise InvalidRequest(
            "a person cannot be joined with or taken from themselves",
            seen=first,
            where="$.b",
            remedy="name two identifiers",
        )
    if action != "unmerge":
        if now.is_one and len(now.path) == 1 and now.path[0].evidence.joined:
            raise InvalidRequest(
                "the two are joined by hand already", seen=first, where="$.a", remedy="nothing to do"
            )
        return first, second
    if action == "unmerge" and not now.is_one and not now.refused:
        raise InvalidRequest(
            "nothing joins the two", seen=[first, second], where="$.a", remedy="nothing to take apart"
        )
    if now.refused == "retracted":
        raise InvalidRequest(
            "the two were taken apart before", seen=[first, second], where="$.a", remedy="nothing to do"
        )
    if now.is_one and len(now.path) > 1:
        steps = " and ".join(f"{link.a} with {link.b}" for link in now.path)
        raise InvalidRequest(
            "the two are joined only through others",
            seen=[first, second],
            where="$.a",
            remedy=f"take one of these apart: {steps}",
        )
    return first, second


def path(links: tuple[Link, ...], start: Identifier, end: Identifier) -> list[Link]:
    """The links that lead from one identifier of a component to another, the fewest; empty when none do."""
    near: dict[Identifier, list[Link]] = {}
    for link in links:
        near.setdefault(link.a, []).append(link)
        near.setdefault(link.b, []).append(link)
    came: dict[Identifier, Link | None] = {start: None}
    queue = [start]
    for here in queue:
        for link in near.get(here, []):
            there = link.b if link.a == here else link.a
            if there not in came:
                came[there] = link
                queue.append(there)
    if end not in came:
        return []
    found: list[Link] = []
    here = end
    while (back := came[here]) is not None:
        found.append(back)
        here = back.a if back.b == here else back.b
    return found[::-1]
