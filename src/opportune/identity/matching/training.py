"""Match weights from the records alone: expectation maximization, no labels.

u starts as the levels of random pairs. Only candidate pairs can be matches, so the expectation is taken over
them, with the prior of all pairs; every other pair counts as two people. That keeps blocking from biasing the
weights (a pair that was found by its e-mail address agrees on it by construction).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidRequest
from opportune.identity.matching.candidates import candidate_pairs, sampled_pairs
from opportune.identity.matching.comparisons import Levels, Pairs, labels, levels_of
from opportune.identity.matching.model import ColumnWeights, MatchModel
from opportune.identity.matching.records import Records

Floats = npt.NDArray[np.float64]

RANDOM_PAIRS = 200_000
ROUNDS = 100
CLOSE_ENOUGH = 1e-5
M_PRIOR = 2.0
"""Pseudo-pairs that pull m towards "the same, mostly": a column that no match has cannot learn from them."""
U_PRIOR = 0.5
MOST_CANDIDATES = 400_000
MOST_SEARCHED = 8_000
"""Records whose candidates are looked for, among all, when there are more than twice as many: the weights
that a sample learns are those of the whole within some hundredths of a bit, and the search is what training
costs."""
RARITY_PRIOR = 1.0
"""People by whom the share of a value is drawn towards the column's average share."""


def train(records: Records, *, seed: int = 0, pairs: tuple[Pairs, Pairs] | None = None) -> MatchModel:
    """Learn the match weights of these records. O(candidate pairs).

    Raises :class:`InvalidRequest` for fewer than two records, or columns without any value.
    """
    n = len(records)
    if n < 2 or not records.columns:
        raise InvalidRequest(
            "match weights need at least two records and one column",
            seen=f"{n} records, {len(records.columns)} columns",
            remedy="map the columns, or give more records",
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    scale, asked = 1.0, n
    if pairs is None and n > 2 * MOST_SEARCHED:
        asked = MOST_SEARCHED
        left, right = sampled_pairs(records, np.sort(rng.choice(n, asked, replace=False)))
        scale = n / (2 * asked)  # every pair would be found from both of its ends
    else:
        left, right = pairs or candidate_pairs(records)
    if len(left) > MOST_CANDIDATES:
        chosen = rng.choice(len(left), MOST_CANDIDATES, replace=False)
        scale *= len(left) / MOST_CANDIDATES
        left, right = left[chosen], right[chosen]
    total = n * (n - 1) / 2
    random_levels = levels_of(records, *_random_pairs(n, rng))
    levels = levels_of(records, left, right)
    sizes = [len(labels(c)) for c in records.columns]
    at_random = [_counts(random_levels[c], size) for c, size in enumerate(sizes)]
    patterns, which, counts = _patterns(levels)
    counts = counts * scale
    m = [_expected(size) for size in sizes]
    known = [_all_pairs(records, c, at_random[c], total) for c in range(len(sizes))]
    u = [_normal(k + U_PRIOR) for k in known]
    prior = min(0.5, max(n / 2, 1) / total)
    for rounds in range(1, ROUNDS + 1):  # noqa: B007 (the last round is reported)
        odds = np.full(patterns.shape[1], np.log(prior / (1 - prior)))
        for c in range(len(sizes)):
            ratio = np.append(np.log(m[c] / u[c]), 0.0)
            odds += ratio[patterns[c]]
        posterior = 1 / (1 + np.exp(-odds))
        matches = posterior * counts
        before = m
        prior = min(0.5, max(float(matches.sum()), 0.5) / total)
        m = []
        for c, size in enumerate(sizes):
            found = _counts(patterns[c], size, matches)
            m.append(_normal(found + M_PRIOR * _expected(size)))
            others = _counts(patterns[c], size, counts - matches)
            u[c] = _normal(np.maximum(known[c] - found, others) + U_PRIOR)
        if max(float(np.abs(a - b).max()) for a, b in zip(m, before, strict=True)) < CLOSE_ENOUGH:
            break
    alone = 1 / (1 + _matches_of(n, left, right, posterior[which]) * scale)
    return MatchModel(
        tuple(
            ColumnWeights(
                column, tuple(m[c].tolist()), tuple(u[c].tolist()), _shares(records, c, alone, u[c][-1])
            )
            for c, column in enumerate(records.columns)
        ),
        prior, n, rounds,
    )  # fmt: skip


def _random_pairs(n: int, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """All pairs when there are few, else a sample of them."""
    if n * (n - 1) // 2 <= RANDOM_PAIRS:
        left, right = np.triu_indices(n, 1)
        return left, right
    left, right = rng.integers(0, n, RANDOM_PAIRS), rng.integers(0, n - 1, RANDOM_PAIRS)
    return left, right + (right >= left)


def _all_pairs(records: Records, c: int, sampled: Floats, total: float) -> Floats:
    """The number of pairs at each level among all pairs: the exact agreements counted, the rest scaled up."""
    share = sampled.sum() and sampled / sampled.sum()
    codes = records.codes(c)
    codes = codes[codes >= 0].astype(np.int64)
    with_value = len(codes) * (len(codes) - 1) / 2
    same = np.bincount(codes).astype(np.float64) if len(codes) else np.zeros(1)
    found: Floats = np.asarray(share * with_value, np.float64) * np.ones(len(sampled))
    found[-1] = max((same * (same - 1) / 2).sum(), found[-1] if records.columns[c].family else 0)
    return found


def _patterns(levels: Levels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Distinct combinations of levels (columns, patterns), which one each pair has, and how many have it."""
    key = np.zeros(levels.shape[1], np.int64)
    for row in levels:
        key = key * 9 + (row + 1)
    _, first, which, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return levels[:, first].astype(np.int64), which, counts.astype(np.float64)


def _counts(levels: npt.NDArray[Any], size: int, by: Floats | None = None) -> Floats:
    there = levels >= 0
    return np.bincount(levels[there], None if by is None else by[there], minlength=size).astype(np.float64)


def _expected(size: int) -> Floats:
    """Where the expectation begins: the closer the level, the likelier for one person."""
    return _normal(np.linspace(0.3, 1.0, size) ** 3)


def _normal(counts: Floats) -> Floats:
    share: Floats = counts / counts.sum()
    return share


def _matches_of(n: int, left: Pairs, right: Pairs, posterior: Floats) -> Floats:
    """(n,) the expected number of other records of the same person."""
    found = np.bincount(left, posterior, n) + np.bincount(right, posterior, n)
    return found.astype(np.float64)


def _shares(records: Records, c: int, people: Floats, average: float) -> dict[str, float]:
    """Value -> the share of other people who have it. ``people`` says which part of a person each record
    is, so that somebody recorded ten times makes no value common. Values of one person only share one entry,
    the empty value."""
    codes = records.codes(c)
    there = codes >= 0
    size = len(records.values[c])
    persons = np.bincount(codes[there], people[there], minlength=size)
    total = float(people[there].sum())
    pull = RARITY_PRIOR
    others = np.maximum(persons - 1, 0)
    share = (others + pull) / (total + pull / average)
    rare = float(pull / (total + pull / average))
    often = np.flatnonzero(persons > 1.5)
    values = records.values[c]
    return {"": rare, **{values[i]: float(share[i]) for i in often.tolist()}}
