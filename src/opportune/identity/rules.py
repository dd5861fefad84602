"""identity.yaml: what may join two identifiers into one person, and what never does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from opportune.clock import DAY, Millis
from opportune.config.definitions import parse
from opportune.errors import InvalidDefinition
from opportune.events.event import Identifier
from opportune.identity.links import MAX_LINKS
from opportune.identity.survivorship import Survivorship

_LIMITS = {
    "user_id": 1,
    "email": 5,
    "phone": 5,
    "anonymous_id": 64,
    "device_id": 16,
    "push_token": 16,
    "advertising_id": 16,
    "ga_client_id": 64,
}
_CROWDED = {
    "user_id": MAX_LINKS + 1,
    "anonymous_id": 16,
    "device_id": 16,
    "push_token": 8,
    "advertising_id": 16,
    "ga_client_id": 16,
}
FOREVER: Millis = 1 << 62
_LIKELY = {"review": 0.5, "rank": 0.95, "send": 0.999}


class IdentityRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far one person may reach.

    ``limits``: how many identifiers of a type one person may have; ``default_limit`` for types not named.
    One ``user_id``, so that two logins are never joined.
    ``crowded``: an identifier with at least this many links connects nobody (a kiosk, a shop's own e-mail
    address); ``default_crowded`` for types not named.
    ``blocked``: values that name nobody, besides the built-in ones, written ``type:value`` or just ``value``.
    ``max_identifiers``: how many identifiers are looked at for one person.
    ``household``: the traits that make people one household when all of them are the same, for example
    ``[postal_code, street]``; none by default.
    ``expires``: types that outlive their owners, for example ``{device_id: 180d}``: an identifier that was
    seen with another login so much later has gone on, and connects nobody; what it has seen is of both. By
    default it stays with the first login.
    ``traits``: which of several values of a trait stands; those not named keep the latest only.
    """

    limits: Mapping[str, int] = msgspec.field(default_factory=lambda: dict(_LIMITS))
    default_limit: int = 16
    crowded: Mapping[str, int] = msgspec.field(default_factory=lambda: dict(_CROWDED))
    default_crowded: int = 32
    blocked: tuple[str, ...] = ()
    max_identifiers: int = 256
    traits: Mapping[str, Survivorship] = {}
    household: tuple[str, ...] = ()
    expires: Mapping[str, Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,4}d$")]] = {}
    likely: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(_LIKELY))

    def __post_init__(self) -> None:
        for name, table, most in (("limits", self.limits, 1_000), ("crowded", self.crowded, MAX_LINKS + 1)):
            for kind, value in table.items():
                if not 1 <= value <= most:
                    raise InvalidDefinition(
                        f"a limit must be 1 to {most}",
                        seen=value,
                        where=f"$.{name}.{kind}",
                        remedy=f"write a whole number from 1 to {most}",
                    )
        for use, least in self.likely.items():
            if not 0 < least < 1:
                raise InvalidDefinition(
                    "a probability is between 0 and 1",
                    seen=least,
                    where=f"$.likely.{use}",
                    remedy="0.95, for example",
                )
        if not 2 <= self.max_identifiers <= 10_000:
            raise InvalidDefinition(
                "max_identifiers must be 2 to 10000",
                seen=self.max_identifiers,
                where="$.max_identifiers",
                remedy="256 suits most shops",
            )

    def limit(self, kind: str) -> int:
        return self.limits.get(kind, self.default_limit)

    def crowded_at(self, kind: str) -> int:
        return self.crowded.get(kind, self.default_crowded)

    def outlives_after(self, kind: str) -> Millis:
        """How long a type stays its owner's once another has it; for ever where nothing is said."""
        days = self.expires.get(kind)
        return FOREVER if days is None else int(days[:-1]) * DAY

    def good_for(self, probability: float) -> list[str]:
        """The uses that a likely match is good enough for, the least demanding first."""
        fit = [(least, use) for use, least in self.likely.items() if probability >= least]
        return [use for _, use in sorted(fit)]

    def is_blocked(self, identifier: Identifier) -> bool:
        """Whether this workspace says that the identifier names nobody. 0.1 us."""
        blocked = self.blocked
        return bool(blocked) and (identifier in blocked or identifier.partition(":")[2] in blocked)


def parse_rules(text: str, *, name: str = "identity.yaml") -> IdentityRules:
    """Read identity.yaml. What it does not mention keeps its default, entry by entry."""
    given = parse(text, IdentityRules, name=name)
    return msgspec.structs.replace(
        given, limits={**_LIMITS, **given.limits}, crowded={**_CROWDED, **given.crowded}
    )
