"""Session nearest neighbours, readable: the reference that the kernel is held to.

VMIS-kNN (Kersbergen, Sprangers, Schelter: "Serenade", SIGMOD 2022) in the weighting family of V-SKNN (Ludewig
and Jannach, 2018) and STAN (Garg et al., SIGIR 2019). We differ from the paper in four ways. The index is
live: recency is the order of clicks, so interleaved sessions need no sorting. Clicks of a neighbour are
weighted by their distance to the match. What the neighbours propose is asked for its own neighbours (the
echo). Nothing is excluded: people do return to what they have seen, and whether it is shown is a policy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from opportune.recommend.session_knn_config import (
    MAX_SESSION,
    RECENCY_STEPS,
    Returns,
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
    """A sampled session: which terms it matched, and its newest click on the first of them."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.similarity = 0.0
        self.matched: set[int] = set()
        self.nearest = MAX_SESSION
        self.anchor = -1


class Term(NamedTuple):
    """An item that neighbours are sought for: its weight in the similarity, how much its neighbours' words
    count, and the item of the session that it stands for."""

    item: int
    weight: float
    loudness: float
    because: int


class _History:
    """The clicks that count, by item and by session."""

    def __init__(self, clicks: Sequence[Click], config: SessionKnnConfig) -> None:
        self.clicks = clicks
        self.config = config
        self.alive = range(max(len(clicks) - config.capacity_clicks, 0), len(clicks))
        self.of_item: dict[int, int] = {}
        self.of_session: dict[int, list[int]] = {}
        for at in self.alive:
            self.of_item[clicks[at].item] = self.of_item.get(clicks[at].item, 0) + 1
            self.of_session.setdefault(clicks[at].session, []).append(at)
        self.match_rarity, self.candidate_rarity = rarity_table(config, len(self.alive))

    def rarity(self, item: int) -> float:
        return float(self.candidate_rarity[bucket_of_count(self.of_item[item])])

    def postings(self, items: Collection[int]) -> list[int]:
        """Clicks on the items, newest first; a run of clicks by one session on one item counts once, as its
        newest."""
        newest: dict[int, int] = {}
        found = []
        for at in reversed(self.alive):
            session, item, _ = self.clicks[at]
            if item in items and newest.get(item) != session:
                newest[item] = session
                found.append(at)
        return found


Scores = dict[int, float]
Shares = dict[int, dict[int, float]]


def recommend(
    clicks: Sequence[Click], query: Sequence[int], count: int, config: SessionKnnConfig
) -> list[Scored]:
    """Score all items for the session ``query`` (oldest first), best first. Reads the whole history: O(n).

    ``clicks`` is everything that was recorded, oldest first; only the newest ``capacity_clicks`` count.
    """
    if not clicks:
        return []
    table = weights(config, _returns(clicks, config.capacity_clicks))
    history = _History(clicks, config)
    query = list(query[-MAX_SESSION:])
    back_of: dict[int, int] = {}
    for back, item in enumerate(reversed(query)):
        back_of.setdefault(item, back)

    terms = []
    for item, back in [(i, b) for i, b in back_of.items() if i in history.of_item][: config.last_items]:
        weight = (len(query) - back) / len(query) if config.linear_positions else table.position[back]
        terms.append(Term(item, weight, table.anchor[back], item))
    score, share = _gather(history, terms, config.recent_sessions, config.neighbours)

    if config.echo_items > 0 and config.echo_weight > 0:
        best = [item for item in _best_first(score)[: config.echo_items + len(terms)] if item not in back_of]
        echo_terms = [
            Term(item, score[item], 1.0, _loudest(share[item], terms)) for item in best[: config.echo_items]
        ]
        echo, echo_share = _gather(history, echo_terms, config.echo_sessions, config.echo_neighbours)
        for item, value in echo.items():
            score[item] = score.get(item, 0.0) + config.echo_weight * value
            share.setdefault(item, echo_share[item])

    total = 0.0
    for value in score.values():
        total += value
    total = total or 1.0
    for item, back in back_of.items():
        prior = total * table.revisit[back] * table.times[query.count(item)]
        score[item] = score.get(item, 0.0) * table.seen[back] + prior
    return [
        Scored(item, score[item], item if item in back_of else _loudest(share[item], terms))
        for item in _best_first(score)[:count]
    ]


def _returns(clicks: Sequence[Click], capacity: int) -> Returns:
    """What people did after the newest click of a session, and after the newest two, that were still held."""
    of_session: dict[int, list[int]] = {}
    continued = stayed = moved = returned = 0
    for at, click in enumerate(clicks):
        before = of_session.setdefault(click.session, [])
        held = [clicks[n].item for n in before[-2:] if n > at - capacity]
        if held:
            continued += 1
            stayed += held[-1] == click.item
        if len(held) == 2 and held[0] != held[1]:
            moved += 1
            returned += held[0] == click.item
        before.append(at)
    return Returns(continued, stayed, moved, returned)


def _best_first(score: Scores) -> list[int]:
    return sorted((item for item in score if score[item] > 0), key=lambda item: (-score[item], -item))


def _loudest(shares: dict[int, float], terms: Sequence[Term]) -> int:
    return max((term.item for term in terms), key=lambda item: shares.get(item, 0.0))


def _gather(
    history: _History, terms: Sequence[Term], most_sessions: int, most_neighbours: int
) -> tuple[Scores, Shares]:
    """What the sessions nearest to the terms say: a score per item, at most 1, and who said how much."""
    score: Scores = {}
    share: Shares = {}
    for neighbour in _nearest_sessions(history, terms, most_sessions, most_neighbours):
        term = terms[neighbour.nearest]
        _speak(history, neighbour, neighbour.similarity * term.loudness, term.because, score, share)
    for item in score:
        score[item] *= history.rarity(item)
    top = max(score.values(), default=0.0)
    return {item: value / top if top > 0 else value for item, value in score.items()}, share


def _nearest_sessions(
    history: _History, terms: Sequence[Term], most_sessions: int, most_neighbours: int
) -> list[_Neighbour]:
    """The most similar of the most recent sessions that touched a term; the most recent first."""
    config, clicks = history.config, history.clicks
    table = weights(config)
    place = {term.item: j for j, term in enumerate(terms)}
    sampled: dict[int, _Neighbour] = {}
    for at in history.postings(place)[: 8 * most_sessions]:
        session, item, _ = clicks[at]
        neighbour = sampled.get(session)
        if neighbour is None:
            if len(sampled) == most_sessions:
                break
            neighbour = sampled[session] = _Neighbour(session)
        if item not in neighbour.matched:
            neighbour.matched.add(item)
            rarity = history.match_rarity[bucket_of_count(history.of_item[item])]
            neighbour.similarity += terms[place[item]].weight * rarity
            if place[item] < neighbour.nearest:
                neighbour.nearest = place[item]
                neighbour.anchor = at
    for neighbour in sampled.values():
        length = len(history.of_session[neighbour.session])
        age = len(clicks) - 1 - neighbour.anchor
        step = int(age * (RECENCY_STEPS / config.recency_half_life)) if config.recency_half_life > 0 else 0
        neighbour.similarity *= table.length[min(length, MAX_SESSION)]
        neighbour.similarity *= table.recency[min(step, len(table.recency) - 1)]
    by_similarity = sorted(sampled.values(), key=lambda each: -each.similarity)[:most_neighbours]
    chosen = {neighbour.session for neighbour in by_similarity}
    return [neighbour for neighbour in sampled.values() if neighbour.session in chosen]


def _speak(
    history: _History, neighbour: _Neighbour, strength: float, because: int, score: Scores, share: Shares
) -> None:
    """Add a neighbour's clicks to the scores, newest first, weighted by their distance to the match."""
    table = weights(history.config)
    newest_first = history.of_session[neighbour.session][::-1][:MAX_SESSION]
    match = newest_first.index(neighbour.anchor) if neighbour.anchor in newest_first else MAX_SESSION
    for place, at in enumerate(newest_first):
        distance = match - place
        nearness = table.after[distance] if distance >= 0 else table.before[-distance]
        _, item, kind = history.clicks[at]
        part = strength * nearness * table.kind[kind]
        score[item] = score.get(item, 0.0) + part
        shares = share.setdefault(item, {})
        shares[because] = shares.get(because, 0.0) + part
