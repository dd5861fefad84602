"""What an event says about consent, in whichever dialect: yes or no per category.

- Segment: ``context.consent.categoryPreferences: {"Analytics": true}``; the event
  ``Segment Consent Preference Updated``.
- RudderStack: ``context.consentManagement: {allowedConsentIds, deniedConsentIds, resolutionStrategy}``; with
  the strategy ``or`` one allowed id of a purpose is enough, else (``and``) one denied id refuses it.
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
from opportune.events.rights import RESERVED, RIGHTS_EVENTS, choices_of

UPDATE_EVENTS = frozenset({"consent_updated", "Segment Consent Preference Updated"})
SIGNALS = ("consent", "consentManagement", "gdpr_consent", "gpc")
"""Keys of the context that say something about consent."""
GPC = "gpc"
_SIGNALS = frozenset(SIGNALS)
_SPEAKING = UPDATE_EVENTS | RIGHTS_EVENTS
MAX_CATEGORIES = 64
MAX_CHARS = 100


class Statement(msgspec.Struct, frozen=True):
    """What one event or request says. ``problems`` are signals that could not be read: they grant nothing.
    ``any_of`` are the categories of which one yes outweighs the no of the others."""

    choices: Mapping[str, bool] = {}
    jurisdiction: str = ""
    problems: tuple[str, ...] = ()
    any_of: frozenset[str] = frozenset()


NOTHING = Statement()


def says_something(context: Mapping[str, Any], name: str = "") -> bool:
    """Whether there is anything to read. 0.1 us."""
    return not _SIGNALS.isdisjoint(context) or name in _SPEAKING


def statement_of(event: Event) -> Statement:
    """What the event says about consent; :data:`NOTHING` for nearly all."""
    if not says_something(event.context, event.name):
        return NOTHING
    if event.name in RIGHTS_EVENTS:
        choices = choices_of(event)
        return Statement(choices) if choices else NOTHING
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
    by_rudder: dict[str, bool] = {}
    _add(by_rudder, dict.fromkeys(_texts(rudder.get("allowedConsentIds")), True), problems)
    _add(by_rudder, dict.fromkeys(_texts(rudder.get("deniedConsentIds")), False), problems)
    any_of = by_rudder.keys() - said.keys() if _is_any(rudder, problems) else set()
    _add(said, by_rudder, problems)
    string = context.get("gdpr_consent") or consent.get("tcf")
    if isinstance(string, str) and string:
        try:
            allowed = tcf.decode(string).consents
        except ValueError as error:
            problems.append(f"the TCF string was not read: {error}")
        else:
            any_of = {name for name in any_of if not name.startswith("tcf:")}
            _add(said, {f"tcf:{i}": i in allowed for i in range(1, tcf.KNOWN_PURPOSES + 1)}, problems)
    if context.get(GPC) is True:
        said[GPC] = False
    others = _object(more)
    _add(said, others, problems)
    return Statement(said, jurisdiction(context), tuple(problems), frozenset(any_of - {*others, GPC}))


def _is_any(rudder: Mapping[Any, Any], problems: list[str]) -> bool:
    """Whether one yes is enough; the stricter strategy where none is named, or none that is known."""
    strategy = rudder.get("resolutionStrategy")
    if strategy not in (None, "", "and", "or"):
        problems.append(f"resolutionStrategy must be 'and' or 'or', saw {strategy!r:.40}; read as 'and'")
    return strategy == "or"


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
        elif name.startswith(RESERVED):
            problems.append(f"no consent category may begin with {RESERVED!r}, saw {name!r:.40}")
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
