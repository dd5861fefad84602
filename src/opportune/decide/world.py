"""What a decision may look at: handed over by the engine, read and never changed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.placement import Placements
from opportune.decide.variants import Variants
from opportune.events.event import Event
from opportune.profiles.likely import Likely
from opportune.profiles.segments import Segments
from opportune.recommend.slate import Slate
from opportune.recommend.source import CandidateSource, Floats, Items, Query


class Touch(Protocol):
    """One thing that the person did with an item: ``kind`` is ``view``, ``cart``, ``buy`` or another word."""

    @property
    def item_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def time(self) -> Millis: ...


class PersonView(Protocol):
    """What is known of the person, as the profile stage reads it; ``bought`` has the last time by item id."""

    @property
    def identifiers(self) -> Sequence[str]: ...

    @property
    def bought(self) -> Mapping[str, Millis]: ...

    @property
    def dismissed(self) -> Collection[str]: ...

    @property
    def groups(self) -> Sequence[str]: ...

    @property
    def exposed(self) -> Mapping[str, Mapping[str, Millis]]: ...

    @property
    def traits(self) -> Mapping[str, Any]: ...

    def session(self, now: Millis, session_id: str) -> Sequence[Touch]: ...

    def features(self, now: Millis) -> dict[str, Any]: ...

    def history(self, before: Millis) -> dict[str, list[Any]]:
        """The earlier visits, as columns (:mod:`opportune.profiles.history`)."""
        ...

    def likely(self, least: float) -> Likely | None:
        """The person together with somebody who is at least so probably the same."""
        ...


class Stranger(msgspec.Struct, frozen=True):
    """A person nobody has met: the :class:`PersonView` of a request without known identifiers."""

    identifiers: tuple[str, ...] = ()
    bought: dict[str, Millis] = {}
    dismissed: tuple[str, ...] = ()
    exposed: dict[str, dict[str, Millis]] = {}
    traits: dict[str, Any] = {}
    groups: tuple[str, ...] = ()

    def session(self, now: Millis, session_id: str) -> Sequence[Touch]:
        return ()

    def features(self, now: Millis) -> dict[str, Any]:
        return {}

    def history(self, before: Millis) -> dict[str, list[Any]]:
        return {}

    def likely(self, least: float) -> Likely | None:
        return None


class Refused(Stranger, frozen=True):
    """A person who does not allow personalization: nothing of them may be looked at, so the decision is
    contextual."""


class SessionView(msgspec.Struct, frozen=True):
    """The session as the request itself tells it: its id, and the inline events, already normalised."""

    session_id: str = ""
    inline: Sequence[Event] = ()


class Ranker(Protocol):
    """Scores candidates anew: higher is better, any scale. ``features`` are the person's; ``said`` (at least
    len(sources), n) is what each of the placement's ``sources`` scored each candidate, 0 where it did not
    propose it."""

    name: str

    def score(
        self,
        items: Items,
        blended: Floats,
        query: Query,
        features: Mapping[str, Any],
        said: Floats,
        sources: tuple[str, ...],
    ) -> Floats: ...


class Watch(Protocol):
    """Told what a decision ranked: candidates with the blend's scores, the scores they were ordered by (0 to
    1), what each source said, how many were to be shown, and, where the placement has an objective, what each
    candidate is worth by chance. It must copy what it keeps, and be quick."""

    def offer(
        self,
        items: Items,
        blended: Floats,
        live: Floats,
        said: Floats,
        sources: tuple[str, ...],
        query: Query,
        features: dict[str, Any],
        shown: int,
        live_ms: float,
        worth: Mapping[str, Floats],
    ) -> None: ...


def new_decision_id(now: Millis) -> str:
    """A unique id that sorts by time: 24 hex digits, 11 of milliseconds and 13 at random."""
    return f"{now & 0xFFFFFFFFFFF:011x}{_random.getrandbits(52):013x}"


# From the system's entropy: two processes, or one restarted, must not give out the same ids.
_random = random.Random(random.SystemRandom().getrandbits(128))


def _nobody_counts(placement: str, stage: str) -> None:
    return None


class World(msgspec.Struct, kw_only=True):
    """Everything a decision reads besides the request and the person.

    ``timer`` is a monotonic clock in nanoseconds, ``new_id`` makes decision ids, ``degraded`` is called with
    (placement, stage) for every stage that failed or was late. ``versions`` go into the record. ``slate`` is
    memory that one decision uses and the next one uses again: a world makes one decision at a time.
    ``variants`` is None when no experiment is declared. ``rankers`` are those that arms may name instead of
    the live ``ranker``; ``reads`` are the person's features that these look at; ``watch`` is told what the
    live one ranked. ``cost`` of items, where an objective asks for margins.
    """

    catalog: Catalog
    sources: Mapping[str, CandidateSource]
    placements: Placements
    ranker: Ranker | None = None
    rankers: Mapping[str, Ranker] = {}
    reads: tuple[str, ...] = ()
    watch: Watch | None = None
    cost: Callable[[Items], Floats] | None = None
    segments: Segments = msgspec.field(default_factory=Segments)
    variants: Variants | None = None
    versions: Mapping[str, str] = {}
    timer: Callable[[], int] = time.perf_counter_ns
    new_id: Callable[[Millis], str] = new_decision_id
    degraded: Callable[[str, str], None] = _nobody_counts
    slate: Slate = msgspec.field(default_factory=Slate)
