"""A few lists are shuffled, so that the log can speak about other policies; what it was shown by is exact."""

from __future__ import annotations

import random

import msgspec

from opportune.decide.placement import Explore
from opportune.decide.policy import Verdict

EXPLORED = "explored"
"""Where the record keeps what :func:`propensities <explore>` were made of."""


class Explored(msgspec.Struct, frozen=True):
    """``natural`` is the list as it would have been, ``free`` the candidates that any unpinned place could
    have got; indices of the pool. ``propensities`` are parallel to what is shown."""

    natural: list[int]
    free: list[int]
    propensities: list[float]


def explore(verdict: Verdict, how: Explore, seed: str) -> Explored:
    """With probability ``how.share`` the unpinned places of ``verdict.shown`` are drawn anew, in place and
    without putting back, from what stands there and the best of the rest, ``how.pool`` in all. A place then
    has each of them equally likely, so that its item's propensity is ``share / n`` plus, for the item that
    stood there, ``1 - share``. ``seed`` decides: a decision's id. O(count + pool)."""
    natural = list(verdict.shown)
    places = [place for place, at in enumerate(natural) if at not in verdict.pinned]
    free = [natural[place] for place in places]
    free += verdict.rest[: max(how.pool - len(free), 0)]
    if len(free) < 2 or not places:
        return Explored(natural, [], [1.0] * len(natural))
    draw = random.Random(seed)
    if draw.random() < how.share:
        drawn = draw.sample(free, len(free))
        for place, at in zip(places, drawn, strict=False):
            verdict.shown[place] = at
        left = set(drawn[len(places) :])
        gone = set(verdict.shown)
        verdict.rest = [at for at in free if at in left] + [
            at for at in verdict.rest if at not in gone | left
        ]
    each = how.share / len(free)
    return Explored(
        natural,
        free,
        [
            1.0 if at in verdict.pinned else each + (1.0 - how.share if at == natural[place] else 0.0)
            for place, at in enumerate(verdict.shown)
        ],
    )
