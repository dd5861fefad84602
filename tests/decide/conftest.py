"""A small shop with hand-made candidate sources, whose right answers are visible by eye."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from opportune.catalog.items import Catalog
from opportune.clock import Millis
from opportune.decide.pipeline import decide
from opportune.decide.placement import Placements, read_placements
from opportune.decide.request import DecideRequest, Decision, DecisionRecord
from opportune.decide.world import SessionView, World
from opportune.recommend.source import Candidates, Interactions, Query

NOW: Millis = 1_760_000_000_000


class Timer:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def sleep_ms(self, ms: float) -> None:
        self.ns += int(ms * 1_000_000)


class FixedSource:
    """Proposes the same items to everybody; remembers what it was asked."""

    def __init__(
        self,
        name: str,
        reason: str,
        items: Sequence[int],
        scores: Sequence[float] | None = None,
        because: int = -1,
        work: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.reason = reason
        self.items = list(items)
        self.scores = list(scores) if scores is not None else [1.0 / (k + 1) for k in range(len(items))]
        self.because = because
        self.work = work
        self.asked: list[Query] = []

    def fit(self, interactions: Interactions) -> None: ...

    def update(self, interactions: Interactions) -> None: ...

    def recommend(self, query: Query) -> Candidates:
        self.asked.append(query)
        if self.work is not None:
            self.work()
        n = min(query.count, len(self.items))
        return Candidates(
            np.array(self.items[:n], dtype=np.int32),
            np.array(self.scores[:n], dtype=np.float32),
            np.full(n, self.because, dtype=np.int32),
        )


class Touched(msgspec.Struct, frozen=True):
    item_id: str
    kind: str
    time: Millis


class Shopper(msgspec.Struct, frozen=True):
    """A person as the profile stage would see them."""

    identifiers: tuple[str, ...] = ("user_id:u1",)
    touches: tuple[Touched, ...] = ()
    bought: Mapping[str, Millis] = {}
    dismissed: Collection[str] = ()
    known: dict[str, Any] = {}

    def session(self, now: Millis, session_id: str) -> Sequence[Touched]:
        return self.touches

    def features(self, now: Millis) -> dict[str, Any]:
        return self.known


class Kit:
    """What the tests build their worlds with. Items are ``i0`` to ``i39``; item k costs k, is of category
    ``c<k mod 4>`` and brand ``b<k mod 3>``; i9, i19, i29, i39 are out of stock."""

    now = NOW
    FixedSource = FixedSource
    Shopper = Shopper
    Timer = Timer
    Touched = Touched

    def catalog(self, n: int = 40) -> Catalog:
        catalog = Catalog()
        for k in range(n):
            attributes = {
                "name": f"Item {k}",
                "price": k,
                "category": f"c{k % 4}",
                "brand": f"b{k % 3}",
                "color": ["red", "blue"][k % 2],
                "available": k % 10 != 9,
            }
            catalog.upsert(f"i{k}", attributes, 1_000)
        return catalog

    def sources(self, **items: Sequence[int]) -> dict[str, Any]:
        """Sources by name; those not given propose nothing."""
        reasons = {
            "session_knn": "viewed_together",
            "covisitation": "viewed_together",
            "content": "similar",
            "trending": "trending",
            "popular": "popular",
            "popular_in_category": "popular_in_category",
        }
        return {name: FixedSource(name, reason, items.get(name, ())) for name, reason in reasons.items()}

    def placements(self, text: str) -> Placements:
        return read_placements(text)

    def world(self, placements: str, catalog: Catalog | None = None, **sources: Any) -> World:
        """A world with one catalogue, in which no time passes, so that a busy machine makes nothing late;
        ``sources`` are lists of item numbers, or sources."""
        fixed = self.sources(**{k: v for k, v in sources.items() if isinstance(v, list | range)})
        fixed.update({k: v for k, v in sources.items() if not isinstance(v, list | range)})
        return World(
            catalog=self.catalog() if catalog is None else catalog,
            sources=fixed,
            placements=self.placements(placements),
            timer=Timer(),
        )

    def one(
        self, world: World, person: Any = None, session: SessionView | None = None, **request: Any
    ) -> tuple[Decision, DecisionRecord]:
        """Decide a single placement, by default the first of the world."""
        request.setdefault("placement", next(iter(world.placements)).name)
        [answer] = decide(
            world, DecideRequest(**request), person or Shopper(), session or SessionView("s1"), NOW
        )
        return answer

    def shown(self, world: World, person: Any = None, **request: Any) -> list[str]:
        decision, _ = self.one(world, person, **request)
        return [item.item_id for item in decision.items]


@pytest.fixture
def kit() -> Kit:
    return Kit()
