"""The golden record: of every value that was said about a trait, who said it, when, how often; and which
stands.

A fold that combines, like everything that is learnt: the same whichever order it came in and however people
are merged and taken apart. Only traits with a rule in ``identity.yaml`` are remembered like this, so an event
without such a trait pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from opportune.clock import Millis
from opportune.events.event import Event
from opportune.identity.survivorship import Survivorship
from opportune.profiles.leaf import NEVER, Claims, Said, Trait
from opportune.profiles.traits import later, merge_traits

MAX_VALUES = 12
"""Different values counted per trait; of more, those that are smallest as JSON. A trait that takes more is a
measurement, and its latest value is kept in any case."""
MAX_SOURCES = 8
MAX_VALUE_CHARS = 200
"""A longer value, as JSON, takes no part in the choice; as the latest of its trait it is kept."""

Told = dict[str, Claims]
Rules = Mapping[str, Survivorship]

_encode = msgspec.json.Encoder(order="deterministic").encode


class GoldenFold:
    """``zero / fold / combine / read`` of the traits that have a rule. 4 us a trait that is said."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def zero(self) -> Told:
        return {}

    def fold(self, state: Told, event: Event) -> Told:
        if event.traits and event.kind != "group":
            fold_told(state, event.traits, event.time, event.source, self.rules)
        return state

    def combine(self, a: Told, b: Told) -> Told:
        return combine_told(a, b)

    def read(self, state: Told, now: Millis) -> dict[str, Any]:
        """What stands, and all that was said."""
        return {
            name: {"stands": _latest(claims).value, "said": list(told(claims))}
            for name, claims in sorted(state.items())
        }


def fold_told(state: Told, said: Mapping[str, Any], time: Millis, source: str, rules: Rules) -> None:
    """Put what one event said into ``state``, in place."""
    for name in rules.keys() & said.keys():
        value = said[name]
        try:
            text = _encode(value).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            continue
        if len(text) > MAX_VALUE_CHARS:
            continue
        by_source = {source: Trait(value, time, source)}
        if value is None:
            one = Claims(by_source, {}, time)
        else:
            one = Claims(by_source, {text: Said(1, time, time, source)})
        known = state.get(name)
        state[name] = one if known is None else _merged(known, one)


def combine_told(a: Told, b: Told) -> Told:
    """Both as one new map."""
    out = dict(a)
    for name, claims in b.items():
        known = out.get(name)
        out[name] = claims if known is None else _merged(known, claims)
    return out


def golden(latest: Mapping[str, Trait], told_of: Told, rules: Rules) -> dict[str, Trait]:
    """Every trait with the value that stands."""
    out = dict(latest)
    for name, claims in told_of.items():
        rule = rules.get(name)
        if rule is not None and name in out:
            out[name] = survivor(rule, claims, out[name])
    return out


def survivor(rule: Survivorship, claims: Claims, latest: Trait) -> Trait:
    """The value that a rule lets stand, with when it was last said, and by whom."""
    if rule.keep == "most_trusted":
        for source in rule.sources:
            found = claims.by_source.get(source)
            if found is not None and found.value is not None and found.time > claims.withdrawn:
                return found
        return latest
    alive = {text: s for text, s in claims.values.items() if s.last > claims.withdrawn}
    if not alive or rule.keep == "most_recent":
        return latest
    if rule.keep == "order":
        wanted = [text for text in (_encode(value).decode() for value in rule.values) if text in alive]
        return _trait(wanted[0], alive[wanted[0]]) if wanted else latest
    best = max(
        alive,
        key=lambda text: (
            alive[text].count if rule.keep == "most_frequent" else len(text),
            alive[text].last,
            text,
        ),
    )
    return _trait(best, alive[best])


def told(claims: Claims) -> Iterator[dict[str, Any]]:
    """Every value that is remembered, latest first: by whom it was said last, since when, how often."""
    ordered = sorted(claims.values.items(), key=lambda one: (-one[1].last, one[0]))
    for text, said in ordered:
        yield {
            "value": msgspec.json.decode(text),
            "source_id": said.source,
            "first": said.first,
            "last": said.last,
            "count": said.count,
            "void": said.last <= claims.withdrawn,
        }


def _trait(text: str, said: Said) -> Trait:
    return Trait(msgspec.json.decode(text), said.last, said.source)


def _latest(claims: Claims) -> Trait:
    found = Trait(None, NEVER, "")
    for trait in claims.by_source.values():
        found = later(found, trait)
    return found


def _merged(a: Claims, b: Claims) -> Claims:
    values = dict(a.values)
    for text, said in b.values.items():
        known = values.get(text)
        values[text] = said if known is None else _both(known, said)
    if len(values) > MAX_VALUES:
        values = {text: values[text] for text in sorted(values)[:MAX_VALUES]}
    return Claims(merge_traits(a.by_source, b.by_source, MAX_SOURCES), values, max(a.withdrawn, b.withdrawn))


def _both(a: Said, b: Said) -> Said:
    newer = a if (a.last, a.source) >= (b.last, b.source) else b
    return Said(a.count + b.count, min(a.first, b.first), newer.last, newer.source)
