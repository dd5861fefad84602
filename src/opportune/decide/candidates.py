"""The candidate stage: ask the placement's sources, blend what they say, and fall back where they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.decide.deadline import Stages
from opportune.decide.placement import GIVEN, Placement
from opportune.decide.plan import Plan, plan_of
from opportune.decide.world import World
from opportune.recommend.blend import blend_slate
from opportune.recommend.slate import Slate
from opportune.recommend.source import Candidates, Floats, Items, Query

_NOTHING = Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
# A re-ranked list is scored by looking its items up among what the sources propose, so they propose more.
_LOOKUP_COUNT = 500
_GIVEN_HALVES_AT = 10
_JUST_THERE = 1e-6
"""Weight of given items where the placement does not ask for their order: they must only be in the pool."""


class Pool(msgspec.Struct):
    """The candidates of one decision in parallel arrays, each item once.

    ``score`` is the blend's; ``sources`` has a bit per name of ``names``; ``because`` is a session item or
    -1; ``tier`` is 0 for candidates of the sources and counts up through the fallback ladder. ``proposed``
    counts what each source answered, before the blend cut it to the pool.

    For rankers: ``said`` (sources, n) is what each source of the placement scored each candidate, 0 where it
    did not propose it, and ``place`` (sources, n) the candidate's place in its answer, -1 where it has none.
    ``foretold``: the chances behind each part of the placement's ``objective``, where it has one; ``worth``:
    by chance, what each candidate is worth when it comes true.
    """

    names: tuple[str, ...]
    item: Items
    score: Floats
    sources: npt.NDArray[np.int64]
    because: Items
    tier: npt.NDArray[np.int8]
    proposed: dict[str, int]
    said: Floats
    place: npt.NDArray[np.int16]
    foretold: dict[str, Floats] = {}
    worth: dict[str, Floats] = {}
    objective: Mapping[str, float] = {}

    def __len__(self) -> int:
        return len(self.item)

    def add(self, name: str, candidates: Candidates, tier: int) -> None:
        """Append what a fallback step proposes and the pool does not have yet."""
        item, first = np.unique(candidates.item, return_index=True)
        new = np.sort(first[~np.isin(item, self.item)])
        if not len(new):
            return
        self.proposed[name] = len(item)
        self.item = np.concatenate((self.item, candidates.item[new]))
        self.score = np.concatenate((self.score, _unit(candidates.score)[new]))
        bits = np.full(len(new), 1 << self.names.index(name), dtype=np.int64)
        self.sources = np.concatenate((self.sources, bits))
        self.because = np.concatenate((self.because, candidates.because[new]))
        self.tier = np.concatenate((self.tier, np.full(len(new), tier, dtype=np.int8)))
        unasked = (len(self.said), len(new))
        self.said = np.concatenate((self.said, np.zeros(unasked, np.float32)), axis=1)
        self.place = np.concatenate((self.place, np.full(unasked, -1, np.int16)), axis=1)


def empty_pool(placement: Placement) -> Pool:
    none = np.zeros(0, dtype=np.int32)
    sources = len(placement.sources)
    return Pool(
        plan_of(placement).names,
        none,
        _NOTHING.score,
        np.zeros(0, np.int64),
        none,
        np.zeros(0, np.int8),
        {},
        np.zeros((sources, 0), np.float32),
        np.zeros((sources, 0), np.int16),
    )


def propose(world: World, placement: Placement, query: Query, given: Items | None, stages: Stages) -> Pool:
    """Ask every source of the placement within the stage's budget, and blend what they say.

    With ``given`` items the pool is exactly those: sources only score them.
    """
    if given is not None:
        return _score_given(world, placement, query, given, stages)
    until_ns = stages.until("candidates")
    slate = world.slate
    plan = plan_of(placement)
    slate.clear(len(placement.sources), query.count)
    for place, source in enumerate(placement.sources):
        if source.source != GIVEN:
            work = partial(_answer, world, slate, place, source.source, query)
            stages.run_if_time(plan.stages[place], work, None, until_ns=until_ns)
    return _pool(plan, slate, plan.weights, placement.pool, len(world.catalog))


def _answer(world: World, slate: Slate, place: int, name: str, query: Query) -> None:
    slate.ask(place, world.sources[name], query)


def _score_given(world: World, placement: Placement, query: Query, given: Items, stages: Stages) -> Pool:
    until_ns = stages.until("candidates")
    asked = msgspec.structs.replace(query, count=max(query.count, _LOOKUP_COUNT))
    ranked = np.sort(given)
    plan = plan_of(placement)
    weights = plan.weights
    slate = world.slate
    slate.clear(len(placement.sources) + 1, max(len(given), asked.count))
    for place, source in enumerate(placement.sources):
        if source.source == GIVEN:
            slate.put(place, _as_given(given))
        else:
            slate.put(place, _only(ask(world, source.source, asked, stages, until_ns), ranked))
    if GIVEN not in plan.names[: len(placement.sources)]:
        slate.put(len(placement.sources), _as_given(given))
        weights = np.append(weights, _JUST_THERE)
    return _pool(plan, slate, weights, max(len(given), 1), len(world.catalog))


def ask(world: World, name: str, query: Query, stages: Stages, until_ns: int | None) -> Candidates:
    """One source's candidates, guarded and made clean; nothing when it is broken or there is no time.

    ``until_ns`` None asks whatever the time.
    """
    stage = f"candidates.{name}"

    def work() -> Candidates:
        return clean(world.sources[name].recommend(query), len(world.catalog))

    if until_ns is None:
        return stages.run(stage, work, _NOTHING)
    return stages.run_if_time(stage, work, _NOTHING, until_ns=until_ns)


def clean(candidates: Candidates, n_items: int) -> Candidates:
    """The candidates with a number the catalogue knows and a finite score."""
    item, score = candidates.item, candidates.score
    good = (item >= 0) & (item < n_items) & np.isfinite(score)
    if good.all():
        return candidates
    return Candidates(item[good], score[good], candidates.because[good])


NEWEST_ITEMS = 200


def default_items(placement: Placement, catalog: Catalog) -> Candidates:
    """The placement's own items, in the order of the definition."""
    return _as_given(catalog.numbers(dict.fromkeys(placement.default_items)))


def newest_items(catalog: Catalog) -> Candidates:
    """What the catalogue listed last, newest first: a shop without a single visitor has something to show.
    O(items), asked only when everything before it had too little."""
    listed = np.flatnonzero(catalog.listed & catalog.available).astype(np.int32)
    order = np.lexsort((listed, catalog.created[listed]))[::-1]
    return _as_given(listed[order[:NEWEST_ITEMS]])


def _as_given(items: Items) -> Candidates:
    n = len(items)
    score = 1.0 / (1.0 + np.arange(n, dtype=np.float32) / np.float32(_GIVEN_HALVES_AT))
    return Candidates(items, score.astype(np.float32), np.full(n, -1, dtype=np.int32))


def _only(candidates: Candidates, ranked: Items) -> Candidates:
    """The candidates among the sorted ``ranked``."""
    if not len(ranked) or not len(candidates.item):
        return _NOTHING
    at = np.minimum(np.searchsorted(ranked, candidates.item), len(ranked) - 1)
    among = ranked[at] == candidates.item
    return Candidates(candidates.item[among], candidates.score[among], candidates.because[among])


def _unit(score: Floats) -> Floats:
    top = float(score.max()) if len(score) else 0.0
    return (score / np.float32(top)).astype(np.float32) if top > 0 else np.zeros_like(score)


def _pool(plan: Plan, slate: Slate, weights: npt.NDArray[np.float64], count: int, n_items: int) -> Pool:
    names = plan.names
    blended = blend_slate(slate, weights, count, n_items)
    proposed = {name: n for name, n in zip(names, blended.proposed.tolist(), strict=False) if n}
    return Pool(
        names,
        blended.items,
        blended.scores,
        blended.sources,
        blended.because,
        np.zeros(len(blended.items), dtype=np.int8),
        proposed,
        blended.said,
        blended.place,
    )
