"""How alike two values are, as one of a few levels: what the match weights are learnt for.

Level 0 is "different"; higher levels are closer. Every role has a function from pairs of compared forms to
levels, and one label per level. Distances are Jaro-Winkler (Winkler, 1990) and Damerau-Levenshtein.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from opportune.identity.matching.columns import Column
from opportune.identity.matching.records import Records

Levels = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]

FEW = 500
MISSING = -1
"""One of the two has no value: no evidence either way."""
DIFFERENT, EXACT = "different", "the same"

LABELS: dict[str, tuple[str, ...]] = {
    "name": (DIFFERENT, "a little alike", "alike", "one typing error", EXACT),
    "full_name": (DIFFERENT, "a little alike", "alike", "very alike", EXACT),
    "date": (DIFFERENT, "one part, two typing errors", "two parts", "two parts, two typing errors",
             "one typing error", EXACT),
    "email": (DIFFERENT, "both parts alike", "the same before the @", "four typing errors",
              "two typing errors", EXACT),
    "phone": (DIFFERENT, "two typing errors", "one typing error", EXACT),
    "code": (DIFFERENT, "two typing errors", "one typing error", EXACT),
    "number": (DIFFERENT, "one typing error", EXACT),
    "address": (DIFFERENT, "a little alike", "alike", "two typing errors", EXACT),
    "text": (DIFFERENT, "a little alike", "alike", "two typing errors", EXACT),
    "category": (DIFFERENT, "one typing error", EXACT),
}  # fmt: skip


def labels(column: Column) -> tuple[str, ...]:
    """What each level of this column means, level 0 first."""
    return LABELS[column.role]


def levels_of(records: Records, left: Pairs, right: Pairs) -> Levels:
    """(columns, pairs) the level of each column for the pairs ``left[i]``, ``right[i]``.

    O(distinct pairs of values): 0.1-0.3 us each and column.
    """
    found = np.empty((len(records.columns), len(left)), np.int8)
    for c in range(len(records.columns)):
        found[c] = _levels(records, (c, left), (c, right))
    for first, second in swappable(records.columns):
        swapped = is_swapped(records, (first, second), found, left, right)
        if len(swapped):
            a, b = left[swapped], right[swapped]
            found[first, swapped] = _levels(records, (first, a), (second, b))
            found[second, swapped] = _levels(records, (second, a), (first, b))
    return found


def swappable(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Pairs of columns whose values get swapped: the first and the last of each family."""
    families: dict[str, list[int]] = {}
    for c, column in enumerate(columns):
        if column.family:
            families.setdefault(column.family, []).append(c)
    return [(members[0], members[-1]) for members in families.values() if len(members) > 1]


def is_swapped(
    records: Records, pair: tuple[int, int], straight: Levels, left: Pairs, right: Pairs
) -> npt.NDArray[np.int64]:
    """Indices of the pairs of records that agree better with the two columns of one side swapped, one of them
    at least almost exactly. Only those that disagree as they stand are tried."""
    first, second = pair
    top = len(labels(records.columns[first])) - 1
    tried = np.flatnonzero((straight[first] < top - 1) & (straight[second] < top - 1))
    a, b = left[tried], right[tried]
    one = _levels(records, (first, a), (second, b))
    other = _levels(records, (second, a), (first, b))
    crossed = np.maximum(one, 0) + np.maximum(other, 0)
    as_is = np.maximum(straight[first, tried], 0) + np.maximum(straight[second, tried], 0)
    found: Pairs = tried[(np.maximum(one, other) >= top - 1) & (crossed > as_is)]
    return found


def _levels(records: Records, left: tuple[int, Pairs], right: tuple[int, Pairs]) -> Levels:
    """Levels between a column of the left records and a column, of the same role, of the right ones."""
    (c, lefts), (d, rights) = left, right
    column = records.columns[c]
    a, b = records.codes(c)[lefts], records.codes(d)[rights]
    levels = np.full(len(a), MISSING, np.int8)
    both = (a >= 0) & (b >= 0)
    if c == d:
        levels[both] = len(labels(column)) - 1
        both &= a != b
        a, b = np.minimum(a, b), np.maximum(a, b)
    there = np.flatnonzero(both)
    if len(there):
        levels[there] = _by_value(records.values[c], records.values[d], a[there], b[there], _exact_or(column))
    return levels


def _exact_or(column: Column) -> Callable[[list[str], list[str]], Levels]:
    compare, top = COMPARE[column.role], len(labels(column)) - 1

    def levels(a: list[str], b: list[str]) -> Levels:
        found = compare(a, b)
        found[[x == y for x, y in zip(a, b, strict=True)]] = top
        return found

    return levels


def _by_value(
    values_a: Sequence[str],
    values_b: Sequence[str],
    a: npt.NDArray[np.int32],
    b: npt.NDArray[np.int32],
    compare: Callable[[list[str], list[str]], Levels],
) -> Levels:
    """Compare every distinct pair of values once; few pairs as they are."""
    if len(a) < FEW:
        return compare([values_a[i] for i in a.tolist()], [values_b[i] for i in b.tolist()])
    key = a.astype(np.int64) * max(len(values_b), 1) + b
    distinct, where = np.unique(key, return_inverse=True)
    first, second = np.divmod(distinct, max(len(values_b), 1))
    found = compare([values_a[i] for i in first.tolist()], [values_b[i] for i in second.tolist()])
    return found[where]


def _jaro_winkler(a: list[str], b: list[str]) -> Floats:
    from rapidfuzz.distance import JaroWinkler
    from rapidfuzz.process import cpdist

    return cpdist(a, b, scorer=JaroWinkler.similarity, dtype=np.float32)


def _typos(a: list[str], b: list[str], most: int) -> Floats:
    """Typing errors: letters changed, added, left out, or two neighbours swapped; ``most + 1`` when more."""
    from rapidfuzz.distance import DamerauLevenshtein
    from rapidfuzz.process import cpdist

    return cpdist(a, b, scorer=DamerauLevenshtein.distance, score_cutoff=most, dtype=np.float32)


def _pick(*conditions: npt.NDArray[np.bool_]) -> Levels:
    """Levels from conditions, the closest first: where the first holds the highest level."""
    levels = np.zeros(len(conditions[0]), np.int8)
    for level, holds in enumerate(reversed(conditions), 1):
        levels[holds] = level
    return levels


def _name(a: list[str], b: list[str]) -> Levels:
    similar, typos = _jaro_winkler(a, b), _typos(a, b, 1)
    long = np.array([min(len(x), len(y)) > 2 for x, y in zip(a, b, strict=True)])
    return _pick((typos <= 1) & long, similar >= 0.88, similar >= 0.75)


def _full_name(a: list[str], b: list[str]) -> Levels:
    similar, typos = _jaro_winkler(a, b), _typos(a, b, 2)
    return _pick((typos <= 2) | (similar >= 0.95), similar >= 0.88, similar >= 0.8)


def _date(a: list[str], b: list[str]) -> Levels:
    typos = _typos(a, b, 2)
    same = np.array(
        [
            0 if len(x) != 8 or len(y) != 8 else (x[:4] == y[:4]) + (x[4:6] == y[4:6]) + (x[6:] == y[6:])
            for x, y in zip(a, b, strict=True)
        ]
    )
    turned = np.array(
        [x[:4] == y[:4] and x[4:6] == y[6:] and x[6:] == y[4:6] for x, y in zip(a, b, strict=True)]
    )
    return _pick((typos <= 1) | turned, (same == 2) & (typos <= 2), same == 2, (same == 1) & (typos <= 2))


def _email(a: list[str], b: list[str]) -> Levels:
    similar, typos = _jaro_winkler(a, b), _typos(a, b, 4)
    parts_a, parts_b = [x.partition("@") for x in a], [x.partition("@") for x in b]
    local = _jaro_winkler([x[0] for x in parts_a], [x[0] for x in parts_b])
    domain = _jaro_winkler([x[2] for x in parts_a], [x[2] for x in parts_b])
    return _pick(typos <= 2, (typos <= 4) & (similar >= 0.9), local == 1, (local >= 0.88) & (domain >= 0.7))


def _code(a: list[str], b: list[str]) -> Levels:
    typos = _typos(a, b, 2)
    return _pick(typos <= 1, typos <= 2)


def _one_typo(a: list[str], b: list[str]) -> Levels:
    return _pick(_typos(a, b, 1) <= 1)


def _text(a: list[str], b: list[str]) -> Levels:
    a, b = [x.replace(" ", "") for x in a], [x.replace(" ", "") for x in b]
    similar, typos = _jaro_winkler(a, b), _typos(a, b, 2)
    return _pick((typos <= 2) & (similar >= 0.8), similar >= 0.88, similar >= 0.75)


COMPARE: dict[str, Callable[[list[str], list[str]], Levels]] = {
    "name": _name,
    "full_name": _full_name,
    "date": _date,
    "email": _email,
    "phone": _code,
    "code": _code,
    "number": _one_typo,
    "address": _text,
    "text": _text,
    "category": _one_typo,
}
