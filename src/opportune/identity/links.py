"""Links between identifiers, each with its evidence; retractions are evidence too.

Every identifier's leaf keeps what is known about its own links, one :class:`Evidence` per other identifier.
Both ends hear of every event and fold it on their own, so no record ever depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from opportune.clock import Millis
from opportune.events.event import Event, Identifier
from opportune.events.identifiers import NOT_A_PERSON, parse, rank

TOGETHER = "together"
"""Two identifiers arrived in one event."""
IDENTIFY = "identify"
"""An ``identify`` call named both: the site says that they are one person."""
ALIAS = "alias"
"""An ``alias`` call named both."""
LINKED = "linked"
"""Somebody joined the two by hand: an event named ``identity_linked``."""
CONFIRMED = "confirmed"
"""Somebody joined the two by hand although a guard refused: an event named ``identity_confirmed``."""
UNLINKED = "unlinked"
"""Somebody took the two apart: an event named ``identity_unlinked``."""
ASSERTED = "asserted"
"""A decision request named both; believed for that request only and never stored."""

LINK_EVENTS = {
    "identity_linked": LINKED,
    "identity_confirmed": CONFIRMED,
    "identity_unlinked": UNLINKED,
}
"""Names of the events that only say something about identity. Their first two identifiers are meant."""

MAX_LINKS = 128
"""Links kept per identifier. Beyond it those with the smallest keys stay: a rule that no order of arrival can
change. An identifier this crowded hardly says who somebody is; a login on 128 browsers still resolves."""

_RULE_ORDER = {ALIAS: 0, IDENTIFY: 1, LINKED: 2, CONFIRMED: 3, TOGETHER: 4, UNLINKED: 5}


class Evidence(msgspec.Struct, array_like=True, gc=False):
    """Why one identifier is linked to another: the earliest event that said so, and how many did.

    ``rule``, ``time``, ``message_id``, ``source`` are the earliest evidence (event time; ties by rule, then
    message id). ``last`` is the latest, ``count`` how many events. ``joined`` and ``parted`` are the latest
    times at which the two were linked or unlinked by hand, 0 when they were not; ``confirmed`` is the latest
    at which they were linked against a guard.
    """

    rule: str
    time: Millis
    message_id: str
    source: str
    last: Millis
    count: int = 1
    joined: Millis = 0
    parted: Millis = 0
    confirmed: Millis = 0

    @property
    def overrules(self) -> bool:
        """Whether limits and crowds do not hold this link back: somebody looked at it and said so."""
        return self.confirmed > self.parted

    @property
    def active(self) -> bool:
        """Unlinking stands, whatever browsers send later, until somebody links the two by hand again. At the
        same instant unlinking wins."""
        return (self.parted == 0 and self.count > 0) or self.joined > self.parted


class Link(msgspec.Struct, frozen=True, gc=False):
    """Two identifiers and why they belong together; ``a`` is the stronger one (ties by key)."""

    a: Identifier
    b: Identifier
    evidence: Evidence

    def to_dict(self) -> dict[str, object]:
        """Plain JSON, for evidence pages and ``GET /v1/profiles``."""
        e = self.evidence
        return {
            "a": self.a, "b": self.b, "rule": e.rule, "time": e.time, "message_id": e.message_id,
            "source": e.source, "last": e.last, "count": e.count, "active": e.active,
            "joined": e.joined or None,
            "parted": e.parted or None,
            "confirmed": e.confirmed or None,
        }  # fmt: skip


def links_of(event: Event) -> list[Link]:
    """What one event says about who is who: its strongest identifier linked to each of the others.

    A star is enough to connect them all. Types that many people share (``account``) and values that name
    nobody link nothing. 0.1 us for an event with one identifier, 1.5 us with two.
    """
    identifiers = event.identifiers
    if len(identifiers) < 2:
        return []
    usable = [i for i in identifiers if _links(i)]
    if len(usable) < 2:
        return []
    rule = LINK_EVENTS.get(event.name) or (event.kind if event.kind in (IDENTIFY, ALIAS) else TOGETHER)
    first = usable[0]
    return [Link(*ordered(first, other), evidence_of(event, rule)) for other in usable[1:] if other != first]


def assert_together(identifiers: Sequence[Identifier], now: Millis) -> list[Link]:
    """What a request that names several identifiers claims, for :func:`resolve`."""
    usable = [i for i in identifiers if _links(i)]
    if len(usable) < 2:
        return []
    evidence = Evidence(ASSERTED, now, "", "", now)
    return [Link(*ordered(usable[0], other), evidence) for other in usable[1:] if other != usable[0]]


def evidence_of(event: Event, rule: str) -> Evidence:
    """One event as evidence. A correction by hand counts no events of its own."""
    time = event.time
    return Evidence(
        rule,
        time,
        event.message_id,
        event.source,
        time,
        0 if rule == UNLINKED else 1,
        time if rule in (LINKED, CONFIRMED) else 0,
        time if rule == UNLINKED else 0,
        time if rule == CONFIRMED else 0,
    )


def ordered(a: Identifier, b: Identifier) -> tuple[Identifier, Identifier]:
    """The two, stronger first."""
    return (a, b) if strength(a) <= strength(b) else (b, a)


@lru_cache(maxsize=16_384)
def strength(identifier: Identifier) -> tuple[int, str]:
    """Sort key: strongest type first, then by key."""
    return rank(identifier.partition(":")[0]), identifier


def merge(a: Evidence, b: Evidence) -> Evidence:
    """Everything that both saw: associative, commutative, and no order of arrival changes it."""
    first = a if _earliness(a) <= _earliness(b) else b
    return Evidence(
        first.rule,
        first.time,
        first.message_id,
        first.source,
        max(a.last, b.last),
        a.count + b.count,
        max(a.joined, b.joined),
        max(a.parted, b.parted),
        max(a.confirmed, b.confirmed),
    )


def add(links: dict[Identifier, Evidence], other: Identifier, evidence: Evidence) -> None:
    """Put one piece of evidence into the links of a leaf, in place. Neither evidence is changed."""
    known = links.get(other)
    links[other] = evidence if known is None else merge(known, evidence)
    if len(links) > MAX_LINKS:
        del links[max(links)]


def fold_links(links: dict[Identifier, Evidence], event: Event, key: Identifier) -> bool:
    """Fold what one event says about ``key`` into the links of its leaf, in place: about all the others when
    ``key`` is the strongest, else about the strongest only. Answers whether anything was said that
    ``resolve`` looks at; that the two were seen together once more is not. 0.3 us when it says nothing new,
    2 us else."""
    identifiers = event.identifiers
    others = identifiers[1:] if key == identifiers[0] else identifiers[:1]
    if event.name not in LINK_EVENTS:
        time = event.time
        for other in others:
            known = links.get(other)
            if known is None:
                if _links(other):
                    break
            elif known.rule == UNLINKED or time <= known.time:
                break
        else:
            # Nearly every event: seen together once more. What merge() would do, without a new object.
            for other in others:
                known = links.get(other)
                if known is not None:
                    known.count += 1
                    if time > known.last:
                        known.last = time
            return False
    for link in links_of(event):
        if link.a == key:
            add(links, link.b, link.evidence)
        elif link.b == key:
            add(links, link.a, link.evidence)
    return True


def _earliness(e: Evidence) -> tuple[bool, Millis, int, str, str]:
    # A correction is no evidence that the two were ever seen together: anything else comes before it.
    return e.rule == UNLINKED, e.time, _RULE_ORDER.get(e.rule, 9), e.message_id, e.source


@lru_cache(maxsize=16_384)
def _links(identifier: Identifier) -> bool:
    kind = identifier.partition(":")[0]
    return kind not in NOT_A_PERSON and parse(identifier) != ""
