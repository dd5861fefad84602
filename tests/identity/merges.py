"""Merging and taking apart leaves no trace: ``python -m tests.identity.merges --cases 10000 --seed 1``.

A case is a random history of a few identifiers: events with features, traits, carts and searches, decisions
with arms of experiments, consent given and withdrawn, links that events themselves bring, and, in one of two
worlds, merges by hand that are all undone in the end. Everything arrives in random order, retractions before
links too. Then every identifier is asked in both worlds: its component, features, segments, traits, session,
cart, exposures, arms, consent, and the stored leaf byte for byte.
"""

from __future__ import annotations

import argparse
import time
from random import Random
from typing import Any

import msgspec

from opportune.clock import DAY, HOUR, FixedClock
from opportune.decide.request import DecisionRecord, ExperimentInfo
from opportune.engine.engine import Engine
from opportune.engine.workspace import load_workspace
from opportune.events.event import Event, Line
from opportune.experiments.assignment import Assignment
from opportune.identity.links import LINK_EVENTS
from opportune.identity.rules import IdentityRules
from opportune.identity.survivorship import Survivorship
from opportune.profiles.person import Person
from opportune.profiles.segments import Segment, Segments, SegmentSet
from opportune.testing.disk import MemoryDisk

NAMES = (
    "user_id:u1",
    "user_id:u2",
    "email:a@b.example",
    "anonymous_id:x1",
    "anonymous_id:x2",
    "device_id:d1",
)
NATURAL = ((0, 3), (0, 2), (1, 4))
"""Links that events bring by themselves, in both worlds; the other pairs are merged by hand."""
BY_HAND = [(a, b) for a in range(len(NAMES)) for b in range(a + 1, len(NAMES)) if (a, b) not in NATURAL]
CASES_PER_ENGINE = 1_000
SEGMENTS = Segments(SegmentSet((Segment(name="buyer", when={"orders_30d": {"gte": 1}}),)))


class World:
    """One engine's state, folded entry by entry; ``case`` keeps the identifiers of histories apart."""

    def __init__(self) -> None:
        rules = IdentityRules(traits={"city": Survivorship("most_frequent"), "age": Survivorship("longest")})
        workspace = msgspec.structs.replace(load_workspace(None), identity=rules)
        self.engine = Engine(MemoryDisk, workspace, clock=FixedClock())
        self.seq = 0

    def fold(self, entry: Any) -> None:
        self.seq += 1
        self.engine.state.fold(self.seq, entry)

    def seen(self, name: str, now: int) -> dict[str, Any]:
        """All that a decision or a page could read of the person of an identifier."""
        state = self.engine.state
        members = state.components.members(name)
        person = Person(state.person, members, [state.leaf(m) for m in members])
        features = person.features(now)
        own = state.leaf(name)
        bare = msgspec.structs.replace(own, links={}, offset=0)
        return {
            "members": members,
            "features": features,
            "segments": SEGMENTS.of(features),
            "traits": person.traits,
            "told": person.leaf.told,
            "session": person.session(now),
            "cart": person.cart,
            "bought": dict(person.bought),
            "dismissed": dict(person.dismissed),
            "exposures": list(person.exposures),
            "arms": dict(person.exposed),
            "consent": self.engine.consent.standing(members).to_dict(),
            "leaf": state.person.encode(bare),
        }


def history(random: Random, case: int, now: int) -> tuple[list[Any], list[Any]]:
    """What happened, and the merges and unmerges by hand: every pair is apart in the end."""
    names = [f"{n}-{case}" for n in NAMES]
    happened: list[Any] = []
    for number in range(random.randint(3, 14)):
        at = now - random.randrange(40 * DAY)
        first = random.randrange(len(names))
        who: tuple[str, ...] = (names[first],)
        natural = [b for a, b in NATURAL if a == first]
        if natural and random.random() < 0.5:
            who = (names[first], names[random.choice(natural)])
        happened.append(_entry(random, f"{case}-{number}", at, who))
    merges: list[Any] = []
    for a, b in random.sample(BY_HAND, random.randint(1, 4)):
        at = now - random.randrange(2, 30) * DAY
        for turn in range(random.randint(1, 3)):
            how = random.choice(("identity_linked", "identity_confirmed"))
            for name, later in ((how, 0), ("identity_unlinked", HOUR)):
                merges.append(
                    Event("track", name, f"{case}-{a}-{b}-{turn}-{name}", "desk",
                          at + turn * DAY // 8 + later, now, (names[a], names[b]))
                )  # fmt: skip
    return happened, merges


def _entry(random: Random, number: str, at: int, who: tuple[str, ...]) -> Any:
    item = f"p{random.randrange(6)}"
    line = (Line(item, float(random.randint(1, 3)), random.choice((2.5, 10.0)), "mugs", "acme"),)
    kind = random.choice(
        ("view", "add", "remove", "order", "search", "dismiss", "identify", "consent", "decision")
    )
    if kind == "decision":
        return DecisionRecord(
            f"d{number}", "home_recs", at, who[:1], "s1", {}, {}, [item], [1.0], [1], [""], ("popular",), 1,
            [1.0], [], ExperimentInfo(), "personal", [], {}, {}, {}, {},
            (Assignment("test", random.choice("ab"), "anonymous_id", key="test:1"),),
        )  # fmt: skip
    if kind == "identify":
        traits = {"city": random.choice(("Hull", "York")), "age": random.randint(20, 22)}
        return Event("identify", "identify", number, "web", at, at, who, traits=traits)
    if kind == "consent":
        said = {random.choice(("personalization", "analytics")): random.random() < 0.5}
        return Event("track", "consent_updated", number, "web", at, at, who, properties={"categories": said})
    name = {"view": "product_viewed", "add": "product_added", "remove": "product_removed",
            "order": "order_completed", "search": "products_searched",
            "dismiss": "product_dismissed"}[kind]  # fmt: skip
    return Event(
        "track", name, number, "web", at, at, who, "s1", () if kind == "search" else line,
        10.0 if kind == "order" else None, "red mug" if kind == "search" else "",
    )  # fmt: skip


def check(merged: World, never: World, random: Random, case: int) -> None:
    """Both worlds agree about everybody. Raises :class:`AssertionError` with what differs."""
    now = merged.engine.clock()
    happened, merges = history(random, case, now)
    both = [*happened, *merges]
    random.shuffle(both)
    hand = {id(entry) for entry in merges}
    for entry in both:
        merged.fold(entry)
        if id(entry) not in hand:
            never.fold(entry)
    for name in NAMES:
        identifier = f"{name}-{case}"
        one, other = merged.seen(identifier, now), never.seen(identifier, now)
        for part, value in one.items():
            assert value == other[part], f"case {case}, {identifier}, {part}: {value!r} != {other[part]!r}"


def joined(random: Random, case: int) -> bool:
    """Whether the merges of a case did join people while they stood: the check must be able to fail."""
    world = World()
    _, merges = history(random, case, world.engine.clock())
    before = [world.engine.state.components.members(f"{n}-{case}") for n in NAMES]
    for event in merges:
        assert event.name in LINK_EVENTS
        if event.name != "identity_unlinked":
            world.fold(event)
    return before != [world.engine.state.components.members(f"{n}-{case}") for n in NAMES]


def run(cases: int, seed: int) -> int:
    for case in range(cases):
        if case % CASES_PER_ENGINE == 0:
            merged, never = World(), World()
        check(merged, never, Random(f"{seed}-{case}"), case)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.identity.merges", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    started = time.process_time()
    run(chosen.cases, chosen.seed)
    print(f"{chosen.cases} cases, 0 differences, {time.process_time() - started:.0f} s of the processor")


if __name__ == "__main__":
    main()
