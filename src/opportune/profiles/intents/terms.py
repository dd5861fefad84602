"""Texts as sparse rows of weighted terms: words, pairs of words, and pieces of words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_CHARS = 500
"""Characters of a text that are read."""
PIECES = (2, 3, 4, 5)
_WORD = re.compile(r"[^\W_]+")


class Rows(NamedTuple):
    """Sparse rows: row ``r`` is ``term[start[r]:start[r + 1]]`` with the same slice of ``weight``."""

    start: npt.NDArray[np.int64]
    term: npt.NDArray[np.int32]
    weight: Floats

    def __len__(self) -> int:
        return len(self.start) - 1

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Rows:
        parts = [slice(self.start[r], self.start[r + 1]) for r in rows]
        lengths = [p.stop - p.start for p in parts]
        if not parts:
            return Rows(np.zeros(1, np.int64), self.term[:0], self.weight[:0])
        return Rows(
            np.cumsum([0, *lengths]).astype(np.int64),
            np.concatenate([self.term[p] for p in parts]),
            np.concatenate([self.weight[p] for p in parts]),
        )


class Terms:
    """TF-IDF with logarithmic counts (Salton & Buckley, 1988), one half of unit length for words and pairs of
    words, one for pieces of 2 to 5 letters within a word, which forgive endings and typing errors.

    Learnt from the examples alone; terms that they do not have are not seen. O(characters).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        found: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for text in texts:
            for seen, terms in zip(found, _both(text), strict=True):
                seen.update(set(terms))
        self._number: list[dict[str, int]] = []
        rarity: list[float] = []
        for least, seen in zip((1, 2 if len(texts) > 200 else 1), found, strict=True):
            kept = sorted(term for term, n in seen.items() if n >= least)
            self._number.append({term: len(rarity) + i for i, term in enumerate(kept)})
            rarity += [float(np.log((1 + len(texts)) / (1 + seen[term])) + 1) for term in kept]
        self._rarity = np.array(rarity)

    def __len__(self) -> int:
        """How many terms there are."""
        return len(self._rarity)

    def rows(self, texts: Sequence[str]) -> Rows:
        start, term, weight = [0], [], []
        for text in texts:
            number, value = self.row(text)
            term.append(number)
            weight.append(value)
            start.append(start[-1] + len(number))
        nothing: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        return Rows(
            np.array(start, np.int64),
            np.concatenate([nothing, *term]),
            np.concatenate([np.zeros(0), *weight]),
        )

    def row(self, text: str) -> tuple[npt.NDArray[np.int32], Floats]:
        """The terms of one text and their weights."""
        numbers, weights = [], []
        for known, terms in zip(self._number, _both(text), strict=True):
            counts: dict[int, int] = {}
            for term in terms:
                number = known.get(term)
                if number is not None:
                    counts[number] = counts.get(number, 0) + 1
            ordered = np.array(sorted(counts), np.int32)
            weight = (1 + np.log([counts[int(n)] for n in ordered])) * self._rarity[ordered]
            length = float(np.sqrt(weight @ weight))
            numbers.append(ordered)
            weights.append(weight / length if length else weight)
        return np.concatenate(numbers), np.concatenate(weights)


def _both(text: str) -> tuple[list[str], list[str]]:
    """Words with pairs of them, and pieces of words.

    >>> words, pieces = _both("Red cups")
    >>> words
    ['red', 'cups', 'red cups']
    >>> pieces[:6]
    [' r', 're', 'ed', 'd ', ' re', 'red']
    """
    found = _WORD.findall(_plain(text[:MAX_CHARS]))
    pairs = [f"{a} {b}" for a, b in pairwise(found)]
    return [*found, *pairs], [piece for word in found for piece in _pieces(f" {word} ")]


def _pieces(word: str) -> Iterator[str]:
    for size in PIECES:
        if size >= len(word):
            yield word
            return
        for at in range(len(word) - size + 1):
            yield word[at : at + size]


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))
