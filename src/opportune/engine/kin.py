"""Who is probably the same person, for decisions that say how sure is enough.

The pairs are those that ``opportune identity propose`` found; they are looked up, not scored, so that a
decision pays microseconds. A pair is used only as long as all of this holds, looked at anew each time:

- both allow personalization: the stricter of the two;
- nothing was said of the two by hand, and no guard holds back a link between them;
- what they were compared by is still what it was.

Nothing is joined: links, consent, exposures and what is known of either stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from opportune.clock import SECOND, Millis
from opportune.engine.alike import row_of
from opportune.events.event import Identifier
from opportune.identity.likely import stamp_of
from opportune.profiles.consent.policy import Use
from opportune.profiles.likely import CERTAIN, Belief, Likely, Step
from opportune.profiles.person import People, Person
from opportune.stores.likely import PROPOSALS, LikelyStore

if TYPE_CHECKING:
    from opportune.engine.engine import Engine
    from opportune.engine.workspace import Workspace

LOOK_EVERY: Millis = SECOND
_PERSONALIZE = int(Use.PERSONALIZE)


class _Column(msgspec.Struct, frozen=True):
    column: str
    level: str
    bits: float


class _Pair(msgspec.Struct, frozen=True):
    """A proposal without the values of its columns."""

    a: Identifier
    b: Identifier
    probability: float
    steps: tuple[_Column, ...]
    stamp_a: str = ""
    stamp_b: str = ""


class LikelyPeople:
    """The file is read again when it has changed, looked at once a second: 10 ms for 5,000 pairs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._people = People(engine.state.person)
        self._looked: Millis = -LOOK_EVERY
        self._version: tuple[int, int] | None = None
        self._pairs: dict[Identifier, list[_Pair]] = {}

    def likely(self, person: Person, least: float) -> Likely | None:
        """The likeliest that is at least so probable. 0.5 us for somebody without any."""
        if least >= CERTAIN:
            return None
        self._look()
        pairs = self._pairs
        if not pairs:
            return None
        found = [pair for name in person.identifiers for pair in pairs.get(name, ())]
        for pair in sorted(found, key=lambda pair: -pair.probability):
            if pair.probability < least:
                return None
            both = self._both(person, pair)
            if both is not None:
                return Likely(both, Belief(pair.probability, _evidence(pair)))
        return None

    def _both(self, person: Person, pair: _Pair) -> Person | None:
        engine = self._engine
        own = person.identifiers
        is_a = pair.a in own
        other = pair.b if is_a else pair.a
        members = engine.state.components.members(other)
        known = frozenset(own)
        if not known.isdisjoint(members) or (
            engine.entries.has_tombstones and any(map(engine.entries.suppresses, members))
        ):
            return None
        names = (*own, *members)
        if not int(engine.consent.standing(names).allowed) & _PERSONALIZE:
            return None
        leaf = engine.state.leaf
        if any(not known.isdisjoint(leaf(name).links) for name in members):
            return None  # what joins them is held back by a guard, or was taken back
        without = engine.workspace.fence.hidden("traits", "matching")
        theirs = self._people.get(members, [leaf(name) for name in members])
        stamps = (pair.stamp_a, pair.stamp_b) if is_a else (pair.stamp_b, pair.stamp_a)
        if stamps != (stamp_of(row_of(person, without)), stamp_of(row_of(theirs, without))):
            return None
        both = self._people.get(names, [leaf(name) for name in names])
        both.company = person.company
        return both

    def _look(self) -> None:
        now = self._engine.clock()
        if 0 <= now - self._looked < LOOK_EVERY or self._engine.data_dir is None:
            return
        self._looked = now
        store = LikelyStore(self._engine.data_dir)
        version = store.version(PROPOSALS)
        if version == self._version:
            return
        self._version, self._pairs = version, {}
        for pair in store.read(PROPOSALS, list[_Pair]) or ():
            if pair.stamp_a and pair.stamp_b:
                self._pairs.setdefault(pair.a, []).append(pair)
                self._pairs.setdefault(pair.b, []).append(pair)


def _evidence(pair: _Pair) -> tuple[Step, ...]:
    """The columns that say anything, without the prior."""
    return tuple([Step(s.column, s.level, round(s.bits, 2)) for s in pair.steps if s.column and s.bits])


def kin_of(engine: Engine) -> LikelyPeople | None:
    """None where no definition asks for more than certain links."""
    return LikelyPeople(engine) if asks_for_likely(engine.workspace) else None


def asks_for_likely(workspace: Workspace) -> bool:
    """Whether a placement, an arm of an experiment or a segment has its dial below certain."""
    dials: list[float] = [placement.likely for placement in workspace.placements]
    dials += [segment.likely for segment in workspace.segments.definition.segments]
    for experiment in workspace.experiments.with_holdout():
        dials += [arm.change.likely for arm in experiment.variants() if arm.change.likely is not None]
    return any(one < CERTAIN for one in dials)
