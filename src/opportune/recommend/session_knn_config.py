"""The knobs of session nearest neighbours, and the weight tables that both implementations read.

Every weight is looked up in a table that is computed once, here: the readable reference and the kernel then
do the same multiplications in the same order and agree bit for bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition

Table = npt.NDArray[np.float64]

MAX_SESSION = 50
"""Longest query session, and most clicks of one neighbour that are read (the newest ones)."""
EXACT_COUNTS = 1024
BUCKETS = EXACT_COUNTS + 16 * 22
"""Click counts below 1,024 have their own rarity weight; above, 16 buckets an octave (steps of 4.4 %)."""
RECENCY_STEPS = 64
"""Steps of the recency table per half-life; it ends after 16 half-lives."""


FEW_CLICKS = 100.0
"""Clicks after which half of a share of returns is what was counted."""


class SessionKnnConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a session a neighbour, and how much its clicks count.

    Sampling: the ``recent_sessions`` (m) sessions that most recently touched one of the last ``last_items``
    distinct items of the query; of those the ``neighbours`` (k) most similar speak.

    Similarity of a session: the sum over the matched items of ``position_decay ** r`` (r: clicks back from
    the newest; ``linear_positions`` uses the paper's ``(L - r) / L`` instead) times the item's rarity to the
    power ``match_rarity``; divided by ``length ** length_power``; halved every ``recency_half_life`` clicks
    of the shop since the match (0: never).

    Contribution of each of its clicks: similarity, times ``anchor_decay ** r`` of its newest match (VMIS's
    match weight), times ``after_decay ** d`` or ``before_factor * before_decay ** d`` at distance d after or
    before the match, times the weight of the click's kind, times the item's rarity to the power ``rarity``.

    Echo: the sessions nearest to the best ``echo_items`` new items, each weighted by its score, are asked
    as well, and what they say (scaled to a maximum of 1) counts ``echo_weight``. This is pseudo relevance
    feedback (Rocchio, 1971): it reaches items that nobody touched together with those of the session.

    Returning: the score of an item of the session is multiplied by ``seen`` (the newest: ``seen_last``), and
    ``revisit * revisit_decay ** r * touches ** revisit_power`` of the total score of all items is added. The
    placement decides whether they may be shown. How much people return is counted: the newest item's
    ``revisit`` holds where ``stay_share`` of the clicks that continue a session stay on its newest item, and
    is more, up to eight times, or less by how many do (such clicks may have been removed from the data; then
    ``seen_last`` is less, too); ``revisit`` of the others holds where ``return_share`` of the clicks go back
    to the item before, and is more or less, up to four times, by how many do. 0: not scaled. Where nobody
    says anything the items of the session stand alone, those that nobody ever clicked among them.

    The defaults are what the last training sessions of two public shops (Diginetica, YooChoose) agree on;
    sizes are kept small enough for a tenth of a millisecond a query on a catalogue of 40,000 items.

    Rarity is ``log(1 + clicks / clicks of the item)``. ``capacity_clicks`` (a power of two) bounds memory
    at 28 bytes a click: the newest clicks are kept. ``capacity_items`` bounds item numbers, at 36 bytes an
    item. Pages are touched
    only when used, so both are cheap to set high.
    """

    recent_sessions: int = 500
    neighbours: int = 200
    last_items: int = 9
    linear_positions: bool = False
    position_decay: float = 0.4
    anchor_decay: float = 1.0
    match_rarity: float = 3.0
    length_power: float = 0.2
    recency_half_life: float = 0.0
    after_decay: float = 0.8
    before_decay: float = 0.7
    before_factor: float = 1.0
    rarity: float = 1.5
    echo_items: int = 12
    echo_sessions: int = 250
    echo_neighbours: int = 50
    echo_weight: float = 0.3
    seen: float = 0.7
    seen_last: float = 0.3
    revisit: float = 0.04
    revisit_decay: float = 0.9
    revisit_power: float = 0.5
    stay_share: float = 0.05
    return_share: float = 0.087
    kind_weight: tuple[float, float, float] = (1.0, 1.5, 2.0)
    capacity_clicks: int = 1 << 24
    capacity_items: int = 1 << 22

    def __post_init__(self) -> None:
        if not 1 <= self.last_items <= 16:
            raise InvalidDefinition("last_items must be 1 to 16", seen=self.last_items, remedy="use 9")
        if not 1 <= self.neighbours <= self.recent_sessions <= 20_000:
            raise InvalidDefinition(
                "neighbours must be 1 to recent_sessions, and that at most 20,000",
                seen=f"{self.neighbours} of {self.recent_sessions}",
                remedy="use 200 of 500",
            )
        if not 0 <= self.echo_items <= 16:
            raise InvalidDefinition("echo_items must be 0 to 16", seen=self.echo_items, remedy="use 12")
        if not 1 <= self.echo_neighbours <= self.echo_sessions <= self.recent_sessions:
            raise InvalidDefinition(
                "echo_neighbours must be 1 to echo_sessions, and those at most recent_sessions",
                seen=f"{self.echo_neighbours} of {self.echo_sessions} of {self.recent_sessions}",
                remedy="use 50 of 250 of 500",
            )
        if not 1 <= self.capacity_items <= 1 << 29:
            raise InvalidDefinition(
                "capacity_items must be 1 to 536870912", seen=self.capacity_items, remedy="use 4194304"
            )
        if self.capacity_clicks < 2 or self.capacity_clicks & (self.capacity_clicks - 1):
            raise InvalidDefinition(
                "capacity_clicks must be a power of two", seen=self.capacity_clicks, remedy="use 16777216"
            )

    @classmethod
    def light(cls) -> SessionKnnConfig:
        """A smaller echo: a third less time a query. On the last 5 % of the training sessions of Diginetica
        HR@20 is 53.8 instead of 54.0 and MRR@20 19.1 instead of 19.2; of YooChoose 69.5 instead of 69.9 and
        29.4 instead of 29.5."""
        return cls(echo_items=4, echo_sessions=60, echo_neighbours=30)

    @classmethod
    def textbook(cls) -> SessionKnnConfig:
        """VMIS-kNN as published: linear positions, match weight, logarithmic rarity, nothing else.

        The match weight ``1 - 0.1 r`` of the paper is approximated by ``0.9 ** r``.
        """
        return cls(
            recent_sessions=1000,
            neighbours=200,
            position_decay=1.0,
            linear_positions=True,
            anchor_decay=0.9,
            match_rarity=0.0,
            length_power=0.0,
            after_decay=1.0,
            before_decay=1.0,
            before_factor=1.0,
            rarity=1.0,
            echo_items=0,
            seen=1.0,
            seen_last=1.0,
            revisit=0.0,
            stay_share=0.0,
            return_share=0.0,
            kind_weight=(1.0, 1.0, 1.0),
        )


class Weights(NamedTuple):
    """Tables indexed by position or distance (0 to 50), by step of recency, and by kind."""

    position: Table
    anchor: Table
    after: Table
    before: Table
    length: Table
    seen: Table
    revisit: Table
    times: Table
    kind: Table
    recency: Table


class Returns(NamedTuple):
    """What was counted: clicks that ``continued`` a session, of which so many ``stayed`` on its newest item;
    those after two different items (``moved``), of which so many ``returned`` to the first."""

    continued: int = 0
    stayed: int = 0
    moved: int = 0
    returned: int = 0


def return_scales(config: SessionKnnConfig, counted: Returns) -> tuple[float, float]:
    """The scale of the newest item's ``revisit``, and of the ``revisit`` of the others. Shares are taken as
    the expected ones until there are some hundreds of clicks."""
    newest = _share(counted.stayed, counted.continued, config.stay_share)
    others = _share(counted.returned, counted.moved, config.return_share)
    return min(newest, 8.0), min(others, 4.0)


def _share(found: int, of: int, expected: float) -> float:
    if expected <= 0.0:
        return 1.0
    return (found + FEW_CLICKS * expected) / (of + FEW_CLICKS) / expected


def weights(config: SessionKnnConfig, counted: Returns | None = None) -> Weights:
    """As they are where so much was ``counted``; by default as the configuration has them."""
    newest, others = (1.0, 1.0) if counted is None else return_scales(config, counted)
    steps = np.arange(MAX_SESSION + 1, dtype=np.float64)
    before = config.before_factor * config.before_decay**steps
    before[0] = 1.0
    seen = np.full(len(steps), config.seen)
    seen[0] = config.seen_last * min(newest, 1.0)
    revisit = config.revisit * config.revisit_decay**steps
    revisit[0] *= newest
    revisit[1:] *= others
    ages = np.arange(16 * RECENCY_STEPS) / RECENCY_STEPS
    return Weights(
        position=config.position_decay**steps,
        anchor=config.anchor_decay**steps,
        after=config.after_decay**steps,
        before=before,
        length=np.maximum(steps, 1.0) ** -config.length_power,
        seen=seen,
        revisit=revisit,
        times=steps**config.revisit_power,
        kind=np.array(config.kind_weight, dtype=np.float64),
        recency=2.0**-ages if config.recency_half_life > 0 else np.ones(1),
    )


def bucket_of_count(count: int) -> int:
    """Which rarity bucket a click count falls in; the kernel has the same function."""
    if count < EXACT_COUNTS:
        return count
    mantissa, exponent = math.frexp(float(count))
    return min(EXACT_COUNTS + (exponent - 11) * 16 + int(mantissa * 32.0) - 16, BUCKETS - 1)


def count_of_bucket(bucket: int) -> float:
    """The smallest count in a bucket."""
    if bucket < EXACT_COUNTS:
        return float(bucket)
    octave, step = divmod(bucket - EXACT_COUNTS, 16)
    return math.ldexp(1.0 + step / 16.0, 10 + octave)


_COUNTS = np.array([max(count_of_bucket(b), 1.0) for b in range(BUCKETS)])


def rarity_table(config: SessionKnnConfig, clicks: int) -> npt.NDArray[np.float64]:
    """Shape ``(2, BUCKETS)``: weight of an item as a match and as a candidate, by the bucket of its clicks.

    ``clicks`` is rounded down to its bucket too, so that the table changes seldom as clicks come in.
    """
    total = count_of_bucket(bucket_of_count(clicks))
    rarity = np.log1p(total / _COUNTS)
    return np.stack((rarity**config.match_rarity, rarity**config.rarity))
