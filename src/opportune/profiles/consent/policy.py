"""consent.yaml: which purposes there are, what may be done for each, and what silence means where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Any, Literal, get_args

import msgspec

from opportune.config.definitions import parse
from opportune.errors import InvalidDefinition
from opportune.events.consent import GPC, Statement
from opportune.events.rights import RESERVED, RESTRICTION
from opportune.profiles.consent.record import Choice, Consent

UseName = Literal["collect", "personalize", "measure", "train", "share"]
USES: tuple[UseName, ...] = get_args(UseName)
Default = Literal["opt_in", "opt_out"]


class Use(IntFlag):
    """What may be done with what a person does."""

    NONE = 0
    COLLECT = 1
    PERSONALIZE = 2
    MEASURE = 4
    TRAIN = 8
    SHARE = 16
    ALL = 31

    @property
    def names(self) -> list[str]:
        return [name for i, name in enumerate(USES) if self & (1 << i)]

    @classmethod
    def of(cls, names: Sequence[str]) -> Use:
        found = cls.NONE
        for name in names:
            found |= cls(1 << USES.index(name))
        return found


class Purpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``uses`` need this purpose. ``categories`` are what the dialects call it, besides its own name."""

    uses: tuple[UseName, ...]
    categories: tuple[str, ...] = ()
    description: str = ""


_PURPOSES = {
    "personalization": Purpose(
        ("personalize",),
        ("Personalization", "Functional", "functional", "preferences", "C0003", "tcf:5", "tcf:6"),
    ),
    "analytics": Purpose(
        ("measure", "train"),
        ("Analytics", "Performance", "performance", "statistics", "C0002", "tcf:8", "tcf:9", "tcf:10"),
    ),
    "advertising": Purpose(
        ("share",), ("Advertising", "Marketing", "marketing", "C0004", "tcf:2", "tcf:3", "tcf:4", "tcf:7")
    ),
}
_OPT_IN = (
    "EU AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO GB CH BR"
)
_JURISDICTIONS: dict[str, Default] = {**dict.fromkeys(_OPT_IN.split(), "opt_in"), "US": "opt_out"}


class ConsentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``default`` is what silence means where ``jurisdictions`` (``DE``, ``US-CA``) say nothing. With
    ``fail_closed`` silence is no, everywhere. ``gpc_denies`` are the uses that Global Privacy Control
    refuses.
    """

    purposes: Mapping[str, Purpose] = msgspec.field(default_factory=lambda: dict(_PURPOSES))
    jurisdictions: Mapping[str, Default] = msgspec.field(default_factory=lambda: dict(_JURISDICTIONS))
    default: Default = "opt_out"
    fail_closed: bool = False
    gpc_denies: tuple[UseName, ...] = ("share",)

    def __post_init__(self) -> None:
        for name, purpose in self.purposes.items():
            if not purpose.uses:
                raise InvalidDefinition(
                    "a purpose needs a use",
                    where=f"$.purposes.{name}.uses",
                    remedy=f"one of {', '.join(USES)}",
                )

    def silence(self, jurisdiction: str) -> bool:
        """Whether what nobody was asked about is allowed there."""
        if self.fail_closed:
            return False
        country = jurisdiction.partition("-")[0]
        found = self.jurisdictions.get(jurisdiction) or self.jurisdictions.get(country) or self.default
        return found == "opt_out"

    def knows(self, category: str) -> bool:
        """Whether any purpose goes by this category."""
        return (
            category == GPC
            or category.startswith(RESERVED)
            or any(category == n or category in p.categories for n, p in self.purposes.items())
        )


class Standing(msgspec.Struct, frozen=True):
    """What may be done with a person now, and why: for each purpose whether it is allowed and by what.
    ``restricted``: what is known is kept and nothing is done with it. ``objections`` are uses refused for
    themselves, whatever the purposes say."""

    allowed: Use
    purposes: dict[str, tuple[bool, str]] = {}
    jurisdiction: str = ""
    restricted: bool = False
    objections: tuple[str, ...] = ()

    def may(self, use: Use) -> bool:
        return self.allowed & use == use

    def to_dict(self) -> dict[str, Any]:
        return {
            "uses": {name: bool(self.allowed & (1 << i)) for i, name in enumerate(USES)},
            "purposes": {n: {"allowed": ok, "because": why} for n, (ok, why) in self.purposes.items()},
            "jurisdiction": self.jurisdiction or None,
            "restricted": self.restricted,
            "objections": list(self.objections),
        }


def standing(policy: ConsentPolicy, records: Sequence[Consent], now: Statement | None = None) -> Standing:
    """Judge what was said under a person's identifiers, and in the event or request at hand.

    The stricter wins: one identifier's no is the person's no. A use is allowed when no purpose that governs
    it is refused and nobody objected to it. Nothing is collected that nothing may be done with; under a
    restriction what comes is kept and nothing is done with it. 3 us without statements.
    """
    said = [*records]
    if now is not None and (now.choices or now.jurisdiction):
        said.append(
            Consent(
                {c: Choice(ok, 0, "", "request", c in now.any_of) for c, ok in now.choices.items()},
                now.jurisdiction,
            )
        )
    places = [r.jurisdiction for r in said if r.jurisdiction]
    silence = all(policy.silence(p) for p in places) if places else policy.silence("")
    allowed = Use.ALL
    purposes: dict[str, tuple[bool, str]] = {}
    for name, purpose in policy.purposes.items():
        ok, why = _judged(name, purpose, said, silence)
        purposes[name] = ok, why
        if not ok:
            allowed &= ~Use.of(purpose.uses)
    if any(GPC in r.choices for r in said):
        allowed &= ~Use.of(policy.gpc_denies)
    refused = {c[1:] for r in said for c, word in r.choices.items() if c[0] == RESERVED and not word.allowed}
    objections = tuple([name for name in USES if name in refused])
    allowed &= ~Use.of(objections)
    if allowed & ~Use.COLLECT == Use.NONE:
        allowed = Use.NONE
    restricted = RESTRICTION[1:] in refused
    if restricted:
        allowed &= Use.COLLECT
    return Standing(allowed, purposes, places[0] if places else "", restricted, objections)


def _judged(name: str, purpose: Purpose, said: Sequence[Consent], silence: bool) -> tuple[bool, str]:
    yes = ""
    for record in said:
        outweighed = False
        no = ""
        for category in (name, *purpose.categories):
            choice = record.choices.get(category)
            if choice is None:
                continue
            if choice.allowed:
                outweighed = outweighed or choice.any_of
                yes = yes or f"granted: {category} ({choice.message_id or choice.source})"
                continue
            why = f"refused: {category} ({choice.message_id or choice.source})"
            if not choice.any_of:
                return False, why
            no = no or why
        if no and not outweighed:
            return False, no
    if yes:
        return True, yes
    return silence, "nobody was asked, and silence is " + ("yes here" if silence else "no here")


def parse_policy(text: str, *, name: str = "consent.yaml") -> ConsentPolicy:
    """Read consent.yaml. Purposes that it names replace the built-in ones; jurisdictions are added to them.
    Raises :class:`InvalidDefinition`."""
    given = parse(text, ConsentPolicy, name=name)
    return msgspec.structs.replace(given, jurisdictions={**_JURISDICTIONS, **given.jurisdictions})
