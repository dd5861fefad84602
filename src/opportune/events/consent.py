"""What an event says about consent, in whichever dialect: yes or no per category.

- Segment: ``context.consent.categoryPreferences: {"Analytics": true}``; the event
  ``Segment Consent Preference Updated``.
- RudderStack: ``context.consentManagement: {allowedConsentIds, deniedConsentIds}``.
- IAB TCF v2: ``context.gdpr_consent`` (or ``context.consent.tcf``), purposes as categories ``tcf:1`` to
  ``tcf:11``; a purpose is allowed when it is consented to.
- Global Privacy Control: ``context.gpc`` true, from the header ``Sec-GPC: 1``: category ``gpc`` refused.
- Ours: the event ``consent_updated`` with ``properties: {"categories": {"personalization": false}}``.

Where the person is (``context.jurisdiction``, else ``context.location.country``) decides what silence means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from opportune.events import tcf
from opportune.events.event import Event

UPDATE_EVENTS = frozenset({"consent_updated", "Segment Consent Preference Updated"})
SIGNALS = ("consent", "consentManagement", "gdpr_consent", "gpc")
"""Keys of the context that say something about consent."""
GPC = "gpc"
MAX_CATEGORIES = 64
MAX_CHARS = 100


class Statement(msgspec.Struct, frozen=True):
    """What one event or request says. ``problems`` are signals that could not be read: they grant nothing."""

    choices: Mapping[str, bool] = {}
    jurisdiction: str = ""
    problems: tuple[str, ...] = ()


NOTHING = Statement()


def says_something(context: Mapping[str, Any], name: str = "") -> bool:
    """Whether there is anything to read. 0.1 us."""
    return (
        "consent" in context
        or "consentManagement" in context
        or "gdpr_consent" in context
        or GPC in context
        or name in UPDATE_EVENTS
    )


def statement_of(event: Event) -> Statement:
    """What the event says about consent; :data:`NOTHING` for nearly all."""
    if not says_something(event.context, event.name):
        return NOTHING
    more = event.properties.get("categories") if event.name in UPDATE_EVENTS else None
    return read(event.context, more)


def read(context: Mapping[str, Any], more: Any = None) -> Statement:
    """The statement of a context; ``more`` are categories said elsewhere, which go last. Where two dialects
    disagree about a category, no wins."""
    said: dict[str, bool] = {}
    problems: list[str] = []
    consent = _object(context.get("consent"))
    _add(said, _object(consent.get("categoryPreferences")), problems)
    rudder = _object(context.get("consentManagement"))
    _add(said, dict.fromkeys(_texts(rudder.get("allowedConsentIds")), True), problems)
    _add(said, dict.fromkeys(_texts(rudder.get("deniedConsentIds")), False), problems)
    string = context.get("gdpr_consent") or consent.get("tcf")
    if isinstance(string, str) and string:
        try:
            allowed = tcf.decode(string).consents
        except ValueError as error:
            problems.append(f"the TCF string was not read: {error}")
        else:
            _add(said, {f"tcf:{i}": i in allowed for i in range(1, tcf.KNOWN_PURPOSES + 1)}, problems)
    if context.get(GPC) is True:
        said[GPC] = False
    _add(said, _object(more), problems)
    return Statement(said, jurisdiction(context), tuple(problems))


def jurisdiction(context: Mapping[str, Any]) -> str:
    """``US-CA``, ``DE``: as the site says, else the country and region of the location; empty if unknown."""
    said = context.get("jurisdiction")
    if isinstance(said, str):
        return said.strip().upper()[:MAX_CHARS]
    location = _object(context.get("location"))
    country, region = location.get("country"), location.get("region")
    if not isinstance(country, str):
        return ""
    where = country.strip().upper()
    if isinstance(region, str) and region.strip():
        where += f"-{region.strip().upper()}"
    return where[:MAX_CHARS]


def _add(said: dict[str, bool], categories: Mapping[Any, Any], problems: list[str]) -> None:
    for name, allowed in categories.items():
        if not isinstance(name, str) or not isinstance(allowed, bool) or len(name) > MAX_CHARS:
            problems.append(f"consent to {name!r:.40} must be true or false, saw {allowed!r:.40}")
        elif name in said:
            said[name] = said[name] and allowed
        elif len(said) < MAX_CATEGORIES:
            said[name] = allowed
        else:
            problems.append(f"more than {MAX_CATEGORIES} consent categories, {name!r} was not read")


def _object(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
