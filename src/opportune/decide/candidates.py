"""The candidate stage: ask the placement's sources, blend what they say, and fall back where they cannot."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.catalog.items import Catalog
from opportune.decide.deadline import Stages
from opportune.decide.placement import DEFAULT, GIVEN, Placement
from opportune.decide.world import World
from opportune.recommend.blend import blend
from opportune.recommend.source import Candidates, Floats, Items, Query

PINNED = "pinned"
_NOTHING = Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
# A re-ranked list is scored by looking its items up among what the sources propose, so they propose more.
_LOOKUP_COUNT = 500
_GIVEN_HALVES_AT = 10


class Pool(msgspec.Struct):
    """The candidates of one decision in parallel arrays, each item once.

    ``score`` is the blend's; ``sources`` has a bit per name of ``names``; ``because`` is a session item or
    -1; ``tier`` is 0 for candidates of the sources and counts up through the fallback ladder. ``proposed``
    counts what each source answered, before the blend cut it to the pool.
    """

    names: tuple[str, ...]
    item: Items
    score: Floats
    sources: npt.NDArray[np.int64]
    because: Items
    tier: npt.NDArray[np.int8]
    proposed: dict[str, int]

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


def source_names(placement: Placement) -> tuple[str, ...]:
    """The names behind the bits: sources in the placement's order, then what else can put an item in."""
    names = [source.source for source in placement.sources]
    return tuple(dict.fromkeys([*names, GIVEN, *placement.fallbacks, DEFAULT, PINNED]))


def empty_pool(placement: Placement) -> Pool:
    none = np.zeros(0, dtype=np.int32)
    return Pool(
        source_names(placement), none, _NOTHING.score, np.zeros(0, np.int64), none, np.zeros(0, np.int8), {}
    )


def propose(world: World, placement: Placement, query: Query, given: Items | None, stages: Stages) -> Pool:
    """Ask every source of the placement within the stage's budget. O(sources + pool log pool) beside them.

    With ``given`` items the pool is exactly those: sources only score them.
    """
    until_ns = stages.until("candidates")
    asked = query if given is None else msgspec.structs.replace(query, count=max(query.count, _LOOKUP_COUNT))
    names = source_names(placement)
    answers: list[tuple[Candidates, float]] = []
    ranked = None if given is None else np.sort(given)
    for source in placement.sources:
        if source.source == GIVEN:
            answer = _NOTHING if given is None else _as_given(given)
        else:
            answer = ask(world, source.source, asked, stages, until_ns)
            if ranked is not None:
                answer = _only(answer, ranked)
        answers.append((answer, source.weight))
    if given is not None and GIVEN not in names[: len(answers)]:
        answers.append((_as_given(given), 1e-6))
    count = placement.pool if given is None else max(len(given), 1)
    return _pool(names, answers, count, len(world.catalog))


def ask(world: World, name: str, query: Query, stages: Stages, until_ns: int | None) -> Candidates:
    """One source's candidates, guarded and made clean; nothing when it is broken or there is no time.

    ``until_ns`` None asks whatever the time.
    """
    stage = f"candidates.{name}"

    def work() -> Candidates:
        found = world.sources[name].recommend(query)
        if until_ns is not None and np.isfinite(found.score).all():
            return found  # its numbers are checked once for all sources, on the pool
        return clean(found, len(world.catalog))

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


def _pool(
    names: tuple[str, ...], answers: Sequence[tuple[Candidates, float]], count: int, n_items: int
) -> Pool:
    blended = blend(answers, count)
    # As unsigned numbers the negative ones are large: one comparison finds every number nobody has.
    if (blended.items.view(np.uint32) >= n_items).any():
        blended = blend([(clean(answer, n_items), weight) for answer, weight in answers], count)
    return Pool(
        names,
        blended.items,
        blended.scores,
        blended.sources,
        blended.because,
        np.zeros(len(blended.items), dtype=np.int8),
        {
            name: len(answer.item)
            for name, (answer, _) in zip(names, answers, strict=False)
            if len(answer.item)
        },
    )
