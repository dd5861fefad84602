"""What a session recommender has to beat: the textbook methods, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from benchmarks.quality.session_data import Cases, Ints, Longs, Sessions
from benchmarks.quality.session_ranks import DEPTH, Ranks

Table = npt.NDArray[np.float64]


def session_popularity(cases: Cases) -> Ranks:
    """S-POP: the items already in the session, by number of touches, then the most recent first."""
    ranks = np.zeros(len(cases), np.int32)
    for case in range(len(cases)):
        session = cases.item[cases.first[case] : cases.at[case]].tolist()
        count: dict[int, int] = {}
        for item in reversed(session):
            count[item] = count.get(item, 0) + 1
        best = sorted(count, key=lambda item: -count[item])[:DEPTH]  # stable: recent first among equals
        target = int(cases.item[cases.at[case]])
        if target in best:
            ranks[case] = best.index(target) + 1
    return ranks


def popularity(train: Sessions, items: int, cases: Cases) -> Ranks:
    """The 20 most touched items, the same for everybody."""
    count = np.bincount(train.item, minlength=items)
    rank_of = np.zeros(items, np.int32)
    best = np.lexsort((-np.arange(items), -count))[:DEPTH]
    rank_of[best] = np.arange(1, len(best) + 1)
    return rank_of[cases.item[cases.at]]


def markov(train: Sessions, items: int, cases: Cases) -> Ranks:
    """What most often came directly after the last item."""
    return _ranks(*_pairs(train, furthest=1, both_ways=False), items, cases)


def sequential_rules(train: Sessions, items: int, cases: Cases) -> Ranks:
    """SR: what came within 10 steps after the last item, weighted by 1 / steps."""
    return _ranks(*_pairs(train, furthest=10, both_ways=False), items, cases)


def association_rules(train: Sessions, items: int, cases: Cases) -> Ranks:
    """AR: what most often was in a session together with the last item."""
    left, right, _ = _pairs(train, furthest=None, both_ways=True)
    return _ranks(left, right, np.ones(len(left)), items, cases)


def item_knn(train: Sessions, items: int, cases: Cases) -> Ranks:
    """Cosine similarity of the items' sets of sessions, to the last item."""
    left, right, _ = _pairs(train, furthest=None, both_ways=True)
    count = np.maximum(np.bincount(train.item, minlength=items), 1)
    return _ranks(left, right, 1.0 / np.sqrt(count[left] * count[right]), items, cases)


def _pairs(train: Sessions, *, furthest: int | None, both_ways: bool) -> tuple[Longs, Longs, Table]:
    """(item, other item, 1 / steps) for all pairs of touches of a session up to ``furthest``
    apart."""
    session = np.repeat(np.arange(len(train)), np.diff(train.start))
    longest = int(np.diff(train.start).max(initial=1))
    item = train.item.astype(np.int64)
    left, right, weight = [], [], []
    for steps in range(1, min(furthest or longest, longest - 1) + 1):
        together = session[steps:] == session[:-steps]
        a, b = item[:-steps][together], item[steps:][together]
        left.append(a)
        right.append(b)
        weight.append(np.full(len(a), 1.0 / steps))
        if both_ways:
            left.append(b)
            right.append(a)
            weight.append(weight[-1])
    if not left:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(left), np.concatenate(right), np.concatenate(weight)


def _ranks(left: Longs, right: Longs, weight: Table, items: int, cases: Cases) -> Ranks:
    """Rank of each target among the 20 heaviest partners of the last item; ties towards newer items."""
    key, inverse = np.unique(left * items + right, return_inverse=True)
    total = np.bincount(inverse, weights=weight, minlength=len(key))
    a, b = key // items, key % items
    order = np.lexsort((-b, -total, a))
    a, b = a[order], b[order]
    rank = np.arange(len(a)) - np.searchsorted(a, a) + 1
    top = rank <= DEPTH
    known_key = a[top] * items + b[top]
    sort = np.argsort(known_key)
    known_key, known_rank = known_key[sort], rank[top][sort]
    last: Ints = cases.item[cases.at - 1]
    asked = last.astype(np.int64) * items + cases.item[cases.at]
    at = np.minimum(np.searchsorted(known_key, asked), max(len(known_key) - 1, 0))
    if not len(known_key):
        return np.zeros(len(cases), np.int32)
    return np.where(known_key[at] == asked, known_rank[at], 0).astype(np.int32)
