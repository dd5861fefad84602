"""Session nearest neighbours, readable: the reference that the kernel is held to.

VMIS-kNN (Kersbergen, Sprangers, Schelter: "Serenade", SIGMOD 2022) in the weighting family of V-SKNN (Ludewig
and Jannach, 2018) and STAN (Garg et al., SIGIR 2019). We differ from the paper in three ways. The index is
live: recency is the order of clicks, so interleaved sessions need no sorting. Clicks of a neighbour are
weighted by their distance to the match. Nothing is excluded: whether seen items may return is a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from opportune.recommend.session_knn_config import (
    MAX_SESSION,
    RECENCY_STEPS,
    SessionKnnConfig,
    bucket_of_count,
    rarity_table,
    weights,
)


class Click(NamedTuple):
    session: int
    item: int
    kind: int


class Scored(NamedTuple):
    item: int
    score: float
    because: int


class _Neighbour:
    """A sampled session: which query items it matched, and its newest click on the newest of them."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.similarity = 0.0
        self.matched: set[int] = set()
        self.nearest = MAX_SESSION
        self.anchor = -1


def recommend(
    clicks: Sequence[Click], query: Sequence[int], count: int, config: SessionKnnConfig
) -> list[Scored]:
    """Score all items for the session ``query`` (oldest first), best first. Reads the whole history: O(n).

    ``clicks`` is everything that was recorded, oldest first; only the newest ``capacity_clicks`` count.
    """
    table = weights(config)
    offset = max(len(clicks) - config.capacity_clicks, 0)
    alive = range(offset, len(clicks))
    clicks_of_item: dict[int, int] = {}
    clicks_of_session: dict[int, list[int]] = {}
    for at in alive:
        clicks_of_item[clicks[at].item] = clicks_of_item.get(clicks[at].item, 0) + 1
        clicks_of_session.setdefault(clicks[at].session, []).append(at)
    match_rarity, rarity = rarity_table(config, len(alive))

    query = list(query[-MAX_SESSION:])
    back_of_item: dict[int, int] = {}
    for back, item in enumerate(reversed(query)):
        back_of_item.setdefault(item, back)
    known = [item for item in back_of_item if item in clicks_of_item][: config.last_items]
    match_weight: dict[int, float] = {}
    for item in known:
        back = back_of_item[item]
        position = (len(query) - back) / len(query) if config.linear_positions else table.position[back]
        match_weight[item] = position * match_rarity[bucket_of_count(clicks_of_item[item])]

    # The most recent sessions that touched one of the items, most recent first. A run of clicks by one
    # session on one item counts as its newest click.
    sampled: dict[int, _Neighbour] = {}
    newest_on_item: dict[int, int] = {}
    postings = []
    for at in reversed(alive):
        click = clicks[at]
        if click.item in match_weight and newest_on_item.get(click.item) != click.session:
            newest_on_item[click.item] = click.session
            postings.append(at)
    for at in postings[: 8 * config.recent_sessions]:
        session, item, _ = clicks[at]
        neighbour = sampled.get(session)
        if neighbour is None:
            if len(sampled) == config.recent_sessions:
                break
            neighbour = sampled[session] = _Neighbour(session)
        if item not in neighbour.matched:
            neighbour.matched.add(item)
            neighbour.similarity += match_weight[item]
            if known.index(item) < neighbour.nearest:
                neighbour.nearest = known.index(item)
                neighbour.anchor = at
    for neighbour in sampled.values():
        length = len(clicks_of_session[neighbour.session])
        age = len(clicks) - 1 - neighbour.anchor
        step = int(age * (RECENCY_STEPS / config.recency_half_life)) if config.recency_half_life > 0 else 0
        neighbour.similarity *= table.length[min(length, MAX_SESSION)]
        neighbour.similarity *= table.recency[min(step, len(table.recency) - 1)]
    by_similarity = sorted(sampled.values(), key=lambda each: -each.similarity)[: config.neighbours]
    chosen = {neighbour.session for neighbour in by_similarity}

    score: dict[int, float] = {}
    share: dict[int, dict[int, float]] = {}
    for neighbour in sampled.values():
        if neighbour.session not in chosen:
            continue
        because = known[neighbour.nearest]
        strength = neighbour.similarity * table.anchor[back_of_item[because]]
        newest_first = clicks_of_session[neighbour.session][::-1][:MAX_SESSION]
        anchor = newest_first.index(neighbour.anchor) if neighbour.anchor in newest_first else MAX_SESSION
        for place, at in enumerate(newest_first):
            distance = anchor - place
            nearness = table.after[distance] if distance >= 0 else table.before[-distance]
            part = strength * nearness * table.kind[clicks[at].kind]
            item = clicks[at].item
            score[item] = score.get(item, 0.0) + part
            shares = share.setdefault(item, {})
            shares[because] = shares.get(because, 0.0) + part
    for item in score:
        score[item] *= rarity[bucket_of_count(clicks_of_item[item])]
        if item in back_of_item:
            score[item] *= table.seen[back_of_item[item]]

    best = sorted((item for item in score if score[item] > 0), key=lambda item: (-score[item], -item))[:count]
    return [
        Scored(item, score[item], max(known, key=lambda because: share[item].get(because, 0.0)))
        for item in best
    ]
