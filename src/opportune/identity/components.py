"""Who is who: the component of an identifier, derived from links and never stored.

A pure function of the links, so joining two people is adding a link and taking them apart is retracting it.
Deterministic and the same from every member: all reachable links are put in one order (strongest types first,
then earliest evidence, then key) and joined greedily, as Kruskal's algorithm would, unless a guard refuses.
What a guard refuses is in quarantine: shown, and not followed until somebody confirms it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from opportune.events.event import Identifier
from opportune.identity.links import ASSERTED, Evidence, Link, ordered, strength
from opportune.identity.rules import IdentityRules

LinksOf = Callable[[Identifier], Mapping[Identifier, Evidence]]

RETRACTED = "retracted"
CROWDED = "crowded"
BLOCKED = "blocked"
EXPIRED = "expired"
LIMIT = "limit"
"""The start of a reason like ``limit:user_id``: joining would give one person too many of that type."""


class Component(msgspec.Struct, frozen=True):
    """One person's identifiers, strongest first (ties by key).

    ``links`` are those that hold the component together or agree with it; ``refused`` are links that touch it
    and were not followed, with the reason: ``retracted``, ``crowded:<identifier>``, ``blocked:<identifier>``,
    ``expired:<identifier>``, ``limit:<type>``. ``truncated`` is set when more than ``max_identifiers`` could
    be reached; only then may the answer depend on the member that was asked.
    """

    identifiers: tuple[Identifier, ...]
    links: tuple[Link, ...] = ()
    refused: tuple[tuple[Link, str], ...] = ()
    truncated: bool = False

    @property
    def person_id(self) -> Identifier:
        """A stable id: the strongest identifier; of several equally strong, the one with the earliest
        evidence, then the smallest key."""
        first = self.identifiers[0]
        kind = first.partition(":")[0]
        rivals = [i for i in self.identifiers if i.partition(":")[0] == kind]
        if len(rivals) == 1:
            return first
        seen = {i: min((x.evidence.time for x in self.links if i in (x.a, x.b)), default=0) for i in rivals}
        return min(rivals, key=lambda i: (seen[i], i))


def resolve(
    seed: Identifier, links_of: LinksOf, rules: IdentityRules, *, asserted: Sequence[Link] = ()
) -> Component:
    """The component of ``seed``.

    ``links_of`` gives the links of one identifier's leaf. ``asserted`` are links that hold for this question
    only: a decision request that names a login and a browser before any event did. They are considered after
    every stored link. Cost: O(links reached); 0.5 us without links, 6 us for two identifiers.
    """
    links = links_of(seed)
    if not asserted:
        if not links:
            return Component((seed,))
        if len(links) == 1:
            (other,) = links
            if other != seed and len(theirs := links_of(other)) == 1:
                return _pair(seed, other, links, theirs, rules)
    reached, edges, refused, truncated = _reach(seed, links_of, rules, asserted)
    if not edges:
        return Component((seed,), (), tuple(refused), truncated)
    group, joined, over_limit = _join(reached, edges, rules)
    mine = group[seed]
    refused += over_limit
    return Component(
        tuple(sorted(mine.members, key=strength)),
        tuple(link for link in joined if group[link.a] is mine),
        tuple(r for r in refused if group.get(r[0].a) is mine or group.get(r[0].b) is mine),
        truncated,
    )


def _pair(
    seed: Identifier,
    other: Identifier,
    links: Mapping[Identifier, Evidence],
    theirs: Mapping[Identifier, Evidence],
    rules: IdentityRules,
) -> Component:
    """Two identifiers that know only each other: nearly everybody, so without the general machinery."""
    evidence = links[other]
    link = Link(*ordered(seed, other), evidence)
    kind = other.partition(":")[0]
    if not evidence.active:
        reason = RETRACTED
    elif obstacle := _stops(_obstacle(seed, links, rules) or _obstacle(other, theirs, rules), evidence):
        reason = obstacle
    elif seed.partition(":")[0] == kind and rules.limit(kind) < 2 and not evidence.overrules:
        reason = f"{LIMIT}:{kind}"
    else:
        return Component((link.a, link.b), (link,))
    return Component((seed,), (), ((link, reason),))


def _obstacle(identifier: Identifier, links: Mapping[Identifier, Evidence], rules: IdentityRules) -> str:
    """Why an identifier connects nobody; empty when it does. Links that were taken back crowd nobody."""
    if rules.blocked and rules.is_blocked(identifier):
        return f"{BLOCKED}:{identifier}"
    most = rules.crowded_at(identifier.partition(":")[0])
    if len(links) >= most and sum(e.active for e in links.values()) >= most:
        return f"{CROWDED}:{identifier}"
    if rules.expires and len(links) > 1 and _has_gone_on(identifier, links, rules):
        return f"{EXPIRED}:{identifier}"
    return ""


def _has_gone_on(identifier: Identifier, links: Mapping[Identifier, Evidence], rules: IdentityRules) -> bool:
    """Whether one owner was seen with it last so long after another was."""
    last = [e.last for other, e in links.items() if e.active and rules.limit(other.partition(":")[0]) == 1]
    kind = identifier.partition(":")[0]
    return len(last) > 1 and max(last) - min(last) > rules.outlives_after(kind)


def _stops(obstacle: str, evidence: Evidence) -> str:
    """The obstacle, unless it is a guard's and somebody confirmed this very link."""
    return "" if evidence.overrules and obstacle.startswith((CROWDED, EXPIRED)) else obstacle


def _reach(
    seed: Identifier, links_of: LinksOf, rules: IdentityRules, asserted: Sequence[Link]
) -> tuple[dict[Identifier, None], list[Link], list[tuple[Link, str]], bool]:
    """Everything reachable over links that may connect, breadth first, and the links between."""
    reached: dict[Identifier, None] = {seed: None}
    queue = [seed]
    edges: dict[tuple[Identifier, Identifier], Link] = {}
    refused: dict[tuple[Identifier, Identifier], tuple[Link, str]] = {}
    truncated = False
    fetched = {seed: links_of(seed)}
    why_not = {seed: _obstacle(seed, fetched[seed], rules)}

    def obstacle(identifier: Identifier) -> str:
        if identifier not in why_not:
            fetched[identifier] = links_of(identifier)
            why_not[identifier] = _obstacle(identifier, fetched[identifier], rules)
        return why_not[identifier]

    for here in queue:
        near = fetched[here]
        pairs = list(near.items())
        pairs += [(x.b if x.a == here else x.a, x.evidence) for x in asserted if here in (x.a, x.b)]
        blocked_here = why_not[here]
        for there, evidence in pairs:
            key = ordered(here, there)
            if key in edges or key in refused:
                continue
            link = Link(*key, evidence)
            reason = ("" if evidence.active else RETRACTED) or _stops(blocked_here, evidence)
            reason = reason or _stops(obstacle(there), evidence)
            if reason:
                refused[key] = (link, reason)
                continue
            if there not in reached:
                if len(reached) >= rules.max_identifiers:
                    truncated = True
                    continue
                reached[there] = None
                queue.append(there)
            edges[key] = link
    # By name: in which order they were heard of says nothing.
    return reached, list(edges.values()), [refused[key] for key in sorted(refused)], truncated


class _Group:
    """Identifiers joined so far, and how many there are of each type."""

    __slots__ = ("counts", "members")

    def __init__(self, identifier: Identifier) -> None:
        self.members = [identifier]
        self.counts = {identifier.partition(":")[0]: 1}

    def too_many_with(self, other: _Group, rules: IdentityRules) -> str:
        """The type that both together would have too many of; empty when there is none."""
        for kind, count in other.counts.items():
            mine = self.counts.get(kind)
            if mine is not None and mine + count > rules.limit(kind):
                return kind
        return ""

    def absorb(self, other: _Group) -> None:
        self.members += other.members
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count


def _join(
    reached: Mapping[Identifier, None], edges: list[Link], rules: IdentityRules
) -> tuple[dict[Identifier, _Group], list[Link], list[tuple[Link, str]]]:
    """Groups by identifier, links followed, links refused."""
    group = {i: _Group(i) for i in reached}
    joined: list[Link] = []
    refused: list[tuple[Link, str]] = []
    if len(edges) > 1:
        edges.sort(key=_order)
    for link in edges:
        a, b = group[link.a], group[link.b]
        if a is not b:
            too_many = a.too_many_with(b, rules)
            if too_many and not link.evidence.overrules:
                refused.append((link, f"{LIMIT}:{too_many}"))
                continue
            small, large = (a, b) if len(a.members) < len(b.members) else (b, a)
            large.absorb(small)
            for member in small.members:
                group[member] = large
        joined.append(link)
    return group, joined, refused


def _order(link: Link) -> tuple[bool, int, int, int, str, str]:
    evidence = link.evidence
    return (
        evidence.rule == ASSERTED, strength(link.a)[0], strength(link.b)[0], evidence.time, link.a, link.b
    )  # fmt: skip
